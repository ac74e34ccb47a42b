"""Optimal Brain Compression: the exact surgeon, for one linear layer at a time.

The squared error of a layer's outputs is quadratic in its weights, with the same Hessian for each
row, so OBS needs no approximation there but greed:

    row by row      remove the weight of least w_q^2 / (2 [H^-1]_qq), mend the row, eliminate q
    over rows       each row is followed to its end; of all steps the cheapest are taken, each
                    row's in their order
    N:M             a weight goes only where its group may still lose one

The weights of the masks are then the least-squares ones, for that is where single steps lead. Time
is d_out d_in^3: sparsegpt.py gives all rows one order and one inverse, and needs d_in^3.

Source    Frantar and Alistarh, "Optimal Brain Compression: A Framework for Accurate Post-Training
          Quantization and Pruning", NeurIPS 2022, arXiv:2208.11580, section 4 (ExactOBS).
Differs   H is G + lambda I, without the factor 2. Steps of rows are ordered by the dearest so far,
          which takes the same steps as their heap of next steps.
Left out  Quantizing in the same way (OBQ); blocks of weights; the database of many sparsities.
Read      obs.py and refit.py first.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from reference.cholesky import inverse_factor
from reference.pruning.gradient.obs import obs_prune, removed_at_once
from reference.pruning.gradient.pruned import NOfM, Pattern, PrunedLayer
from reference.pruning.gradient.refit import rows_at_once
from reference.pruning.masks import n_m_mask, removed_count, without_lowest
from reference.statistics import InputStatistics, matching


def obc(
    weight: Float[Tensor, "d_out d_in"],
    inputs: InputStatistics,
    pattern: Pattern,
    damping: float = 0.01,
) -> PrunedLayer:
    """Prune a layer for its outputs: a sparsity over all its weights, or N:M in each row.

    Raises:
        ValueError: a pattern without meaning, a weight that does not read these inputs, values that
            are not finite, inputs whose G no damping makes positive definite.
    """
    wide = matching(weight, inputs).double()
    factor, _ = inverse_factor(inputs.gram.double(), damping)
    inverse = factor.T @ factor
    size = rows_at_once(wide.shape[1])
    parts = [(rows, inverse.expand(len(rows), -1, -1)) for rows in wide.split(size)]
    if isinstance(pattern, NOfM):
        mask = _n_of_m(parts, pattern)
    else:
        mask = _cheapest(parts, removed_count(wide.numel(), pattern))
    masks = mask.split(size)
    mended = [
        removed_at_once(rows, hers, kept)[0]
        for (rows, hers), kept in zip(parts, masks, strict=True)
    ]
    return PrunedLayer(torch.cat(mended).to(weight.dtype), mask)


def _n_of_m(parts: list[tuple[Tensor, Tensor]], pattern: NOfM) -> Tensor:
    d_in = parts[0][0].shape[1]
    open_places = n_m_mask(torch.ones(1, d_in), pattern.n, pattern.m)  # refuses what is no N:M
    if d_in % pattern.m:
        raise ValueError(f"{d_in} inputs do not divide into groups of {pattern.m}")
    most = torch.full((d_in // pattern.m,), pattern.m - pattern.n)
    count = int((~open_places).sum())
    return torch.cat([obs_prune(*part, count, most.to(part[0].device)).mask for part in parts])


def _cheapest(parts: list[tuple[Tensor, Tensor]], count: int) -> Tensor:
    """Steps of all rows in the order in which they would be taken, and the first `count` of them.

    A step that is cheaper than one before it in its row has to wait for that one, so each is as
    dear as the dearest so far; of equals in a row the earlier comes first.
    """
    traces = [obs_prune(*part, part[0].shape[1]) for part in parts]
    waits = torch.cat([trace.costs for trace in traces]).cummax(1).values
    taken = ~without_lowest(waits, count)
    order = torch.cat([trace.order for trace in traces])
    return torch.ones_like(taken).scatter_(1, order, ~taken)
