"""Refit: the best that can be had of a mask. Least squares for each row on the weights it kept.

    minimise (v - w) G (v - w)'  with v zero outside S        v_S = w_S + G_SS^-1 G_SR w_R

R is what was removed. Nothing that keeps the same weights can have a lower output error on the same
inputs, so this is the bound that SparseGPT, which looks only to the right, is measured against.

Source    Least squares with the normal equations; as a method of pruning: Frantar and Alistarh,
          "Optimal Brain Compression", 2022, arXiv:2208.11580, section 4 (the optimum on a mask).
Differs   Where kept inputs are copies of each other, of all best rows the nearest to w is taken.
Left out  Inputs that earlier layers changed (reconstruction against the dense layer's outputs).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reference.pruning.gradient.pruned import PrunedLayer
from reference.statistics import InputStatistics, matching

NUMBERS_AT_ONCE = 2**20  # of the matrices of some rows: 8 MiB in float64, near the cache


def refit(
    weight: Float[Tensor, "d_out d_in"],
    inputs: InputStatistics,
    mask: Bool[Tensor, "d_out d_in"],
) -> PrunedLayer:
    """The weight on this mask with the lowest output error on these inputs.

    Raises:
        ValueError: a weight that does not read these inputs, or values that are not finite.
    """
    wide, gram = matching(weight, inputs).double(), inputs.gram.double()
    size = rows_at_once(wide.shape[1])
    parts = zip(wide.split(size), mask.split(size), strict=True)
    found = torch.cat([_refit(rows, gram, kept) for rows, kept in parts])
    return PrunedLayer(found.to(weight.dtype), mask)


def rows_at_once(d_in: int) -> int:
    """How many rows may have a matrix (d_in, d_in) of their own in memory."""
    return max(1, NUMBERS_AT_ONCE // d_in**2)


def _refit(rows: Tensor, gram: Tensor, mask: Tensor) -> Tensor:
    kept = mask.to(rows.dtype)
    lost = (rows * (1 - kept)) @ gram * kept  # G_SR w_R
    among = gram * kept.unsqueeze(1) * kept.unsqueeze(2)  # G_SS, zero elsewhere
    back = torch.linalg.pinv(among, hermitian=True) @ lost.unsqueeze(2)
    return (rows + back.squeeze(2)) * kept
