"""SparseGPT: remove weights column by column, and let those to the right make up for it.

The exact surgeon (obc.py) gives each row its own order and inverse. With one order for all, left to
right, the inverses of all steps lie in one Cholesky factor, as in GPTQ: removing is rounding to 0.

    (G + lambda I)^-1 = U' U        U upper triangular, lambda = 0.01 mean G_jj
    score                           w_ij^2 / U_jj^2                  of weights as mended so far
    for each block of columns       the mask: the lowest scores of all rows in the block
      for j in block                e_j = w_j / U_jj where removed, else 0
                                    w_k <- w_k - e_j U_jk            for k > j
    what it costs                   tr(D (G + lambda I) D') = sum e^2              exactly

1 / U_jj^2 is 1 / [H_j^-1]_jj, H_j without all columns before j: OBS's pivot. For N:M a block is one
group of M. On a given mask blocks change nothing; where masks are chosen by block they do. Where
inputs are not correlated, the score is Wanda's squared and nothing moves.

Source    Frantar and Alistarh, "SparseGPT: Massive Language Models Can be Accurately Pruned in
          One-Shot", ICML 2023, arXiv:2301.00774, section 3 and algorithm 1.
Differs   Counts are exact, over the layer and in each block to one weight; the authors' threshold
          takes one more, and all of equal scores. Inputs that calibration never saw move nothing
          and go as their weights are small; the authors zero them all. Damping grows tenfold until
          a factor exists.
Left out  Quantizing what is kept in the same pass.
Read      obs.py and cholesky.py first; quantization/gptq.py is its twin; refit.py bounds it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reference.cholesky import MOST_DAMPING, inverse_factor
from reference.pruning.gradient.pruned import NOfM, Pattern, PrunedLayer
from reference.pruning.masks import n_m_mask, removed_count, without_lowest
from reference.statistics import InputStatistics, matching

Choose = Callable[[int, int, Tensor], Tensor]  # (begin, end, scores of these columns) -> mask


@dataclass(frozen=True)
class SparseGptConfig:
    damping: float = 0.01  # lambda, as a share of the mean of G's diagonal
    block_size: int = 128  # columns; a mask is chosen for so many at once, unless N:M

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ValueError(f"block_size must be at least 1, got {self.block_size}")
        if not 0 < self.damping <= MOST_DAMPING:
            raise ValueError(f"damping must be in (0, {MOST_DAMPING:g}], got {self.damping}")


def sparsegpt(
    weight: Float[Tensor, "d_out d_in"],
    inputs: InputStatistics,
    pattern: Pattern,
    config: SparseGptConfig = SparseGptConfig(),
) -> PrunedLayer:
    """Prune a linear layer for its outputs: a sparsity over all its weights, or N:M in each row.

    Raises:
        ValueError: a pattern without meaning, a weight that does not read these inputs, values that
            are not finite, or inputs whose G no damping makes positive definite.
    """
    if isinstance(pattern, NOfM):
        return _pruned(weight, inputs, _n_of_m(pattern), pattern.m, config)
    choose = _share(len(weight), pattern)
    return _pruned(weight, inputs, choose, config.block_size, config)


def mended_on(
    weight: Float[Tensor, "d_out d_in"],
    inputs: InputStatistics,
    mask: Bool[Tensor, "_ _"],
    config: SparseGptConfig = SparseGptConfig(),
) -> PrunedLayer:
    """The same with a mask from elsewhere: only the weights to the right make up for it.

    Raises:
        ValueError: as `sparsegpt`, or a mask of another shape.
    """
    if mask.shape != weight.shape:
        shapes = f"{tuple(mask.shape)}, the weight {tuple(weight.shape)}"
        raise ValueError(f"the mask has shape {shapes}")
    given = mask.T
    return _pruned(weight, inputs, lambda begin, end, _: given[begin:end], 1, config)


def _pruned(
    weight: Tensor, inputs: InputStatistics, choose: Choose, span: int, config: SparseGptConfig
) -> PrunedLayer:
    columns = matching(weight, inputs).T.clone(memory_format=torch.contiguous_format)
    factor, _ = inverse_factor(inputs.gram, config.damping)
    mask = torch.ones_like(columns, dtype=torch.bool)
    _solve_(columns, mask, factor, choose, span, max(span, config.block_size // span * span))
    return PrunedLayer(columns.T.to(weight.dtype).contiguous(), mask.T.contiguous())


def _solve_(
    weight: Float[Tensor, "d_in d_out"],
    mask: Bool[Tensor, "d_in d_out"],
    factor: Float[Tensor, "d_in d_in"],
    choose: Choose,
    span: int,
    block: int,
) -> None:
    """Masks are chosen for `span` columns at once, and columns to the right wait for `block`."""
    pivots = factor.diagonal().unsqueeze(1)
    for begin in range(0, len(weight), block):
        end = min(begin + block, len(weight))
        scaled = torch.empty_like(weight[begin:end])  # e
        for j in range(begin, end):
            if (j - begin) % span == 0:
                stop = min(j + span, end)
                scores = (weight[j:stop] / pivots[j:stop]).square()
                mask[j:stop] = choose(j, stop, scores)
            scaled[j - begin] = (weight[j] / pivots[j]).masked_fill_(mask[j], 0)
            weight[j].masked_fill_(~mask[j], 0)
            weight[j + 1 : end].addr_(factor[j, j + 1 : end], scaled[j - begin], alpha=-1)
        weight[end:].addmm_(factor[begin:end, end:].T, scaled, alpha=-1)


def _share(d_out: int, sparsity: float) -> Choose:
    """So many of each block that the count is exact after each of them, and over the layer."""

    def choose(begin: int, end: int, scores: Tensor) -> Tensor:
        before, after = (removed_count(d_out * columns, sparsity) for columns in (begin, end))
        return without_lowest(scores, after - before)

    return choose


def _n_of_m(pattern: NOfM) -> Choose:
    n, m = pattern
    if not 0 <= n <= m or m == 0:
        raise ValueError(f"N:M needs 0 <= N <= M and M of at least 1, got {n}:{m}")
    return lambda begin, end, scores: n_m_mask(scores.T, n, m).T
