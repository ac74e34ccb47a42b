"""Observers: the grid follows a range that is measured while training goes on.

Weights and activations move, so their ranges are measured again with every batch, until they are
frozen: near the end a grid that still moves costs more than one that is slightly off.

    widest           low <- min(low, min x)                    high likewise
    moving average   low <- c low + (1 - c) min x              high likewise
    latest           low <- min x                              for weights, which are all there

Only a batch in training mode is measured. A frozen observer keeps its range to the last bit.

Source    Jacob et al., CVPR 2018, arXiv:1712.05877, section 3.1 (moving average, delayed
          start); Krishnamoorthi 2018, arXiv:1806.08342 (weights per channel).
Differs   An observer begins with a calibrated range, so there is no first batch to treat apart.
Left out  Histograms: percentile and entropy in every training step cost more than they bring.
Read      calibration.py, ste.py first. Used by qat.py; lsq.py learns its grid instead.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.quantization.affine import (
    Grid,
    Range,
    asymmetric_grid,
    channel_range,
    symmetric_grid,
    tensor_range,
)
from reference.quantization.calibration import Calibrator, MakeGrid, min_max
from reference.quantization.ste import clipped_ste

Measure = Callable[[Tensor], Range]  # tensor_range, channel_range
Merge = Callable[[Range, Range], Range]  # what was seen so far, this batch


def widest(seen: Range, batch: Range) -> Range:
    return Range(torch.minimum(seen.low, batch.low), torch.maximum(seen.high, batch.high))


def latest(seen: Range, batch: Range) -> Range:
    return batch


def averaged(seen: Range, batch: Range, momentum: float = 0.99) -> Range:
    """The moving average, `momentum` being the weight of what was seen before."""
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum}")
    ends = zip(seen, batch, strict=True)
    return Range(*(momentum * old + (1 - momentum) * new for old, new in ends))


class ObservedQuantizer(nn.Module):
    """Fake quantization to the grid of an observed range, with the clipped estimator.

    Args:
        first: the range to begin with, in the shape that `measure` gives.
    """

    low: Tensor
    high: Tensor

    def __init__(self, first: Range, measure: Measure, merge: Merge, make_grid: MakeGrid) -> None:
        super().__init__()
        self.register_buffer("low", first.low.detach().clone())
        self.register_buffer("high", first.high.detach().clone())
        self.measure, self.merge, self.make_grid = measure, merge, make_grid
        self.frozen = False
        self.grid()  # a bad range or width is refused here, not in the first batch

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if self.training and not self.frozen:
            seen = self.merge(Range(self.low, self.high), self.measure(x.detach()))
            self.low.copy_(seen.low)
            self.high.copy_(seen.high)
        return clipped_ste(x, self.grid())

    def grid(self) -> Grid:
        return self.make_grid(Range(self.low.clone(), self.high.clone()))

    def freeze_(self, frozen: bool) -> None:
        self.frozen = frozen


def observed_weight(weight: Float[Tensor, "d_out ..."], bits: int = 8) -> ObservedQuantizer:
    """One symmetric grid for each output channel, always that of the present weights."""
    make_grid = partial(symmetric_grid, bits=bits)
    return ObservedQuantizer(channel_range(weight.detach()), channel_range, latest, make_grid)


def observed_activation(
    batches: Sequence[Float[Tensor, "..."]],
    bits: int = 8,
    merge: Merge = averaged,
    calibrate: Calibrator = min_max,
) -> ObservedQuantizer:
    """One asymmetric grid for the tensor, beginning with the calibrated range of these batches."""
    make_grid = partial(asymmetric_grid, bits=bits)
    return ObservedQuantizer(calibrate(batches), tensor_range, merge, make_grid)
