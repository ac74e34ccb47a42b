"""Entropy calibration: clip where the clipped, quantized histogram tells least from the original.

Take a fine histogram of |x| and try every threshold T. P is the histogram up to T with all that
lies beyond put into its last bin; Q is what remains of it after merging its bins into as many
groups as there are codes, each group spreading its count evenly over its bins that were not empty.

    T = argmin KL(P_T || Q_T)         KL(P || Q) = sum P log(P / Q)

It keeps the shape of the bulk, not the mean square: where outliers are rare and far, its MSE is
several times that of min-max, because the outliers it clips dominate the sum.

Source    Migacz, "8-bit Inference with TensorRT", GTC 2017.
Differs   The thresholds tried begin at `levels` bins and end at the full range, one bin apart.
          ONNX Runtime's default, 128 bins for 128 levels, leaves only the full range to try.
          Exact zeros are not counted: every grid holds them, and the many that a ReLU makes
          would pull T far too low (as in NVIDIA's pytorch-quantization, which evens out bin 0).
          Empty Q under non-empty P (the outliers' bin) costs log(P / 1e-9), not infinity.
Left out  Asymmetric thresholds; merging histograms batch by batch.
Read      calibration.py first.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from reference.quantization.affine import Range
from reference.quantization.calibration import joined

EMPTY = 1e-9  # probability of a bin of Q that nothing fell into


class EntropyCurve(NamedTuple):
    """The whole search, to be plotted: the divergence at each threshold tried."""

    thresholds: Float[Tensor, " candidates"]
    divergences: Float[Tensor, " candidates"]


def entropy(batches: Sequence[Float[Tensor, "..."]], levels: int = 128, bins: int = 2048) -> Range:
    """The range that keeps the histogram's shape best, symmetric unless no value is negative.

    Args:
        levels: codes on one side of zero: 2**(bits - 1) for signed codes.
    """
    values = joined(batches)
    curve = entropy_curve(values, levels, bins)
    threshold = curve.thresholds[curve.divergences.argmin()]
    low = -threshold if values.min() < 0 else torch.zeros_like(threshold)
    return Range(low, threshold)


def entropy_curve(values: Float[Tensor, "..."], levels: int, bins: int) -> EntropyCurve:
    """The divergence for every threshold from `levels` bins to all of them."""
    if not 2 <= levels < bins:
        raise ValueError(f"levels={levels} and bins={bins} leave nothing to search; levels < bins")
    if not torch.isfinite(values).all():
        raise ValueError(f"a tensor of shape {tuple(values.shape)} contains inf or nan")
    magnitude = values[values != 0].abs()
    if magnitude.numel() == 0:  # one value, which every threshold keeps
        return EntropyCurve(torch.zeros(1), torch.zeros(1))
    top = magnitude.max()
    counts = torch.histc(magnitude / top, bins, 0, 1).double().numpy()
    kept = np.arange(levels, bins + 1)
    divergences = [divergence(counts, int(count), levels) for count in kept]
    return EntropyCurve(top * torch.from_numpy(kept / bins).to(top), torch.tensor(divergences))


def divergence(counts: NDArray[np.float64], kept: int, levels: int) -> float:
    """KL(P || Q) when the first `kept` bins survive and are merged into `levels` groups."""
    inside = counts[:kept]
    clipped = inside.copy()
    clipped[-1] += counts[kept:].sum()
    starts = np.arange(levels) * kept // levels
    widths = np.diff(starts, append=kept)
    filled = np.add.reduceat((inside > 0).astype(np.float64), starts)
    spread = np.add.reduceat(inside, starts) / np.maximum(filled, 1)
    merged = np.where(inside > 0, np.repeat(spread, widths), 0)
    p = clipped / clipped.sum()
    q = np.maximum(merged / max(merged.sum(), 1), EMPTY)
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / q[seen])).sum())
