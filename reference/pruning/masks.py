"""Masks: which weights are kept. The only place that chooses the lowest of many scores.

A mask is True where a weight is kept. Sparsity is the share that is removed, density the share that
is kept. A share becomes a count in one place, and the count is met exactly:

    removed = floor(sparsity * n + 1/2)          0 removes nothing, 1 removes everything

Of equal scores the one that comes first is removed first, so that a mask depends on nothing else.

Source    Han et al., "Learning both Weights and Connections for Efficient Neural Networks", 2015,
          arXiv:1506.02626 (per layer); Mishra et al., "Accelerating Sparse Deep Neural Networks",
          2021, arXiv:2104.08378 (N:M); Gray et al., "GPU Kernels for Block-Sparse Weights", 2017.
Differs   Thresholds keep or remove all equal scores together, and miss the count; these do not.
Left out  Masks with transposable N:M groups (Hubara et al., 2021).
Read      weights.py puts masks on models.
"""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

Scores = Mapping[str, Tensor]  # by the name of the parameter, in its shape
Masks = dict[str, Tensor]


def removed_count(size: int, sparsity: float) -> int:
    """How many of `size` weights a sparsity removes.

    Raises:
        ValueError: the sparsity is not within 0 and 1.
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity must be within 0 and 1, got {sparsity}")
    return math.floor(sparsity * size + 0.5)


def without_lowest(scores: Shaped[Tensor, "..."], count: int) -> Bool[Tensor, "..."]:
    """The mask that removes exactly the `count` lowest scores.

    Raises:
        ValueError: there are not that many, or a score is nan (infinite ones are in order).
    """
    return _rows_without_lowest(scores.reshape(1, -1), count).reshape(scores.shape)


def layer_mask(scores: Shaped[Tensor, "..."], sparsity: float) -> Bool[Tensor, "..."]:
    """One tensor by itself."""
    return without_lowest(scores, removed_count(scores.numel(), sparsity))


def layer_masks(scores: Scores, sparsities: Mapping[str, float]) -> Masks:
    """Every tensor by itself, each with a sparsity of its own.

    Raises:
        ValueError: names differ.
    """
    if scores.keys() != sparsities.keys():
        odd = sorted(scores.keys() ^ sparsities.keys())
        raise ValueError(f"scores and sparsities name different weights: {', '.join(odd)}")
    return {name: layer_mask(each, sparsities[name]) for name, each in scores.items()}


def global_masks(scores: Scores, sparsity: float) -> Masks:
    """All tensors in one comparison; what a layer loses is up to its scores.

    Raises:
        ValueError: there is nothing to compare.
    """
    if not scores:
        raise ValueError("global pruning needs the scores of at least one weight, got none")
    flat = torch.cat([each.flatten() for each in scores.values()])
    kept = layer_mask(flat, sparsity).split([each.numel() for each in scores.values()])
    return {
        name: part.reshape(each.shape)
        for (name, each), part in zip(scores.items(), kept, strict=True)
    }


def row_mask(scores: Float[Tensor, "rows _"], sparsity: float) -> Bool[Tensor, "rows _"]:
    """Every row loses the same number."""
    return _rows_without_lowest(scores, removed_count(scores.shape[1], sparsity))


def n_m_mask(scores: Float[Tensor, "rows _"], n: int, m: int) -> Bool[Tensor, "rows _"]:
    """At most n kept of each m neighbours in a row: exactly n, and all of a last group within n.

    Raises:
        ValueError: not 0 <= n <= m, or m is 0.
    """
    if not 0 <= n <= m or m == 0:
        raise ValueError(f"N:M needs 0 <= N <= M and M of at least 1, got {n}:{m}")
    rows, columns = scores.shape
    padded = torch.nn.functional.pad(scores, (0, -columns % m), value=-math.inf)
    kept = _rows_without_lowest(padded.reshape(-1, m), m - n)
    return kept.reshape(rows, -1)[:, :columns]


def block_mask(
    scores: Float[Tensor, "rows columns"], shape: tuple[int, int], sparsity: float
) -> Bool[Tensor, "rows columns"]:
    """Whole blocks of that many rows and columns, by their mean score; edge blocks are smaller.

    Raises:
        ValueError: a side of a block is below 1.
    """
    if min(shape) < 1:
        raise ValueError(f"a block needs sides of at least 1, got {shape}")
    sums, sizes = (_block_sums(each, shape) for each in (scores, torch.ones_like(scores)))
    kept = layer_mask(sums / sizes, sparsity)
    return _spread(kept, shape)[: scores.shape[0], : scores.shape[1]]


def all_kept(tensors: Mapping[str, Tensor]) -> Masks:
    """Masks that remove nothing of these weights, or of what scores are for."""
    return {name: torch.ones_like(each, dtype=torch.bool) for name, each in tensors.items()}


def within(scores: Scores, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The scores, lowest of all where the masks already remove: the next masks are inside these.

    Raises:
        ValueError: names differ.
    """
    if scores.keys() != masks.keys():
        odd = sorted(scores.keys() ^ masks.keys())
        raise ValueError(f"scores and masks name different weights: {', '.join(odd)}")
    return {name: each.masked_fill(~masks[name], -math.inf) for name, each in scores.items()}


def sparsity_of(masks: Mapping[str, Tensor]) -> float:
    """The share of all masked weights that is removed."""
    total = sum(each.numel() for each in masks.values())
    return 1 - sum(int(each.sum()) for each in masks.values()) / total if total else 0.0


def _rows_without_lowest(scores: Shaped[Tensor, "rows _"], count: int) -> Bool[Tensor, "rows _"]:
    if not 0 <= count <= scores.shape[1]:
        raise ValueError(f"cannot remove {count} of {scores.shape[1]}")
    if scores.isnan().any():
        raise ValueError(f"scores contain nan, in {int(scores.isnan().sum())} places")
    lowest = scores.argsort(dim=1, stable=True)[:, :count]
    return torch.ones_like(scores, dtype=torch.bool).scatter_(1, lowest, False)


def _block_sums(values: Tensor, shape: tuple[int, int]) -> Tensor:
    rows, columns = values.shape
    padded = torch.nn.functional.pad(values, (0, -columns % shape[1], 0, -rows % shape[0]))
    return padded.unflatten(0, (-1, shape[0])).unflatten(-1, (-1, shape[1])).sum((1, 3))


def _spread(blocks: Tensor, shape: tuple[int, int]) -> Tensor:
    return blocks.repeat_interleave(shape[0], 0).repeat_interleave(shape[1], 1)
