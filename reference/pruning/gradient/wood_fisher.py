"""WoodFisher: the surgeon with a Hessian that is a mean of squared gradients.

Near a minimum of a log-likelihood the Hessian is about the Fisher information, and that of N
samples is of rank N: its inverse follows from N updates, and no matrix is ever inverted.

    F = lambda I + 1/N sum_n g_n g_n'
    F^-1_0 = I / lambda        F^-1_n = F^-1_(n-1) - u u' / (N + g_n' u)        u = F^-1_(n-1) g_n
    score                      w_q^2 / (2 [F^-1]_qq)                  obs.py, with F^-1 for H^-1

F over all weights is too large, so it is cut into blocks along each weight: those of a block mend
each other, and the rest do not. Where F has such blocks, nothing is lost.

Source    Singh and Alistarh, "WoodFisher: Efficient Second-Order Approximation for Neural Network
          Compression", NeurIPS 2020, arXiv:2004.14340.
Differs   The weights of a block that go together are removed together, as oBERT does, so that the
          update is that of the whole set; they add up the updates of single weights. In float64.
Left out  The gradient's term, where training has not converged; taking F again along the way.
Read      obs.py first; obert.py removes groups of weights. Memory: N n for gradients, B n for
          inverses, in float64.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reference.pruning.gradient.derivatives import (
    LossOf,
    Named,
    scored_weights,
    stacked_gradients,
    telling,
)
from reference.pruning.gradient.obs import obs_scores, removed_at_once
from reference.pruning.gradient.pruned import PrunedModel
from reference.pruning.masks import Masks, global_masks
from reference.pruning.weights import masked


@dataclass(frozen=True)
class FisherConfig:
    block_size: int = 50  # B
    damping: float = 1e-5  # lambda, not relative to anything

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ValueError(f"block_size must be at least 1, got {self.block_size}")
        if not 0 < self.damping < torch.inf:
            raise ValueError(f"damping must be above zero and finite, got {self.damping}")


def inverse_fisher(
    gradients: Float[Tensor, "samples n"], config: FisherConfig = FisherConfig()
) -> Float[Tensor, "blocks size size"]:
    """F^-1 of each block. The last is filled up with weights that no gradient moves.

    Raises:
        ValueError: no sample, or gradients that are not finite.
    """
    if not gradients.numel() or not torch.isfinite(gradients).all():
        shape = tuple(gradients.shape)
        raise ValueError(f"gradients must be finite, of a sample at least, got shape {shape}")
    size = min(config.block_size, gradients.shape[1])
    split = in_blocks(gradients.double(), size)
    found = torch.eye(size, dtype=split.dtype, device=split.device) / config.damping
    found = found.repeat(split.shape[1], 1, 1)
    for each in split.unsqueeze(3):  # (blocks, size, 1)
        moved = found @ each
        found -= moved @ moved.mT / (len(split) + each.mT @ moved)
    return found


def in_blocks(values: Float[Tensor, "rows n"], size: int) -> Float[Tensor, "rows blocks {size}"]:
    padded = torch.nn.functional.pad(values, (0, -values.shape[1] % size))
    return padded.unflatten(1, (-1, size))


def inverses(
    model: nn.Module,
    samples: Sequence[Any],
    loss_of: LossOf,
    config: FisherConfig,
    spared: Collection[str] = (),
) -> Named:
    """F^-1 in blocks (blocks, size, size) for each weight; every sample is one batch.

    Raises:
        ValueError: nothing to score, no sample, gradients that are not finite or all zero.
    """
    weights = scored_weights(model, spared)
    found = telling(stacked_gradients(model, weights, samples, loss_of))
    return {name: inverse_fisher(each.flatten(1), config) for name, each in found.items()}


def wood_fisher_scores(
    model: nn.Module,
    samples: Sequence[Any],
    loss_of: LossOf,
    config: FisherConfig = FisherConfig(),
    spared: Collection[str] = (),
) -> Named:
    """w^2 / (2 [F^-1]_qq) of each weight, in float64.

    Raises:
        ValueError: as `inverses`.
    """
    return telling(_scores(model, inverses(model, samples, loss_of, config, spared)))


def wood_fisher(
    model: nn.Module,
    samples: Sequence[Any],
    loss_of: LossOf,
    sparsity: float,
    config: FisherConfig = FisherConfig(),
    spared: Collection[str] = (),
) -> PrunedModel:
    """A copy with the lowest scores of all layers removed, and the other weights moved.

    Raises:
        ValueError: as `inverses`, or a sparsity not within 0 and 1.
    """
    curved = inverses(model, samples, loss_of, config, spared)
    return mended(model, curved, global_masks(telling(_scores(model, curved)), sparsity))


def mended(model: nn.Module, curved: Named, masks: Masks) -> PrunedModel:
    """A copy with these masks, each block moved to make up for what it lost."""
    found = masked(model, masks)
    with torch.no_grad():
        for name, mask in masks.items():
            weight = model.get_parameter(name).detach()
            found.get_parameter(name).copy_(mended_weight(weight, curved[name], mask))
    return PrunedModel(found, masks)


def mended_weight(
    weight: Float[Tensor, "*shape"],
    inverse: Float[Tensor, "blocks size size"],
    mask: Bool[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """The weight with this mask, in its dtype."""
    rows, kept = blocks_of(weight, inverse), blocks_of(mask, inverse)
    moved, _ = removed_at_once(rows, inverse, kept > 0)
    return moved.flatten()[: weight.numel()].reshape(weight.shape).to(weight.dtype) * mask


def blocks_of(values: Tensor, inverse: Float[Tensor, "blocks size size"]) -> Tensor:
    """The values in float64, split as the inverses are."""
    return in_blocks(values.detach().double().reshape(1, -1), inverse.shape[1])[0]


def _scores(model: nn.Module, curved: Named) -> Named:
    weights = {name: model.get_parameter(name) for name in curved}
    return {
        name: obs_scores(blocks_of(each, curved[name]), curved[name])
        .flatten()[: each.numel()]
        .reshape(each.shape)
        for name, each in weights.items()
    }
