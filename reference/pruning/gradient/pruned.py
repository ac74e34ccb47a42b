"""What pruning gives, and how much of a layer it is asked to take: a share, or N of every M.

Layers here are matrices (d_out, d_in): a row is what one output reads.
"""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn

from reference.pruning.masks import Masks, n_m_mask, row_mask


class NOfM(NamedTuple):
    """At most n of every m neighbours in a row are kept."""

    n: int
    m: int


Pattern = float | NOfM  # a float is a sparsity


class PrunedLayer(NamedTuple):
    weight: Float[Tensor, "d_out d_in"]  # in the dtype of the given one, zero where removed
    mask: Bool[Tensor, "d_out d_in"]


class PrunedModel(NamedTuple):
    model: nn.Module
    masks: Masks


def rows_mask(scores: Float[Tensor, "d_out d_in"], pattern: Pattern) -> Bool[Tensor, "d_out d_in"]:
    """Every row by itself.

    Raises:
        ValueError: a sparsity outside 0 to 1, an N:M without meaning, scores that are nan.
    """
    if isinstance(pattern, NOfM):
        return n_m_mask(scores, pattern.n, pattern.m)
    return row_mask(scores, pattern)
