"""Calibration: watch a tensor on sample batches, and choose the range its grid should cover.

A wide range clips nothing and rounds coarsely; a narrow one rounds finely and clips the tails.
Every estimator here is one function, batches -> Range, so that any of them fits where a
`Calibrator` is asked for; fix its other arguments with functools.partial.

    min-max           low, high = min x, max x
    moving average    low <- c low + (1 - c) min of the batch                  high likewise
    percentile        low, high = the (100 - p)-th and the p-th percentile of x
    MSE               low, high = f (min x, max x),    f = argmin mean (x - Q_f(x))^2,  0 < f <= 1
    entropy           see entropy.py
    closed form       see aciq.py

Source    Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference",
          2018, arXiv:1806.08342; Nagel et al., "A White Paper on Neural Network
          Quantization", 2021, arXiv:2106.08295, section 3.1 (MSE).
Differs   Percentiles are of signed values, both tails. The MSE search scales both ends by one f
          in even steps and measures the error itself, not an estimate from a histogram.
Left out  Cross-entropy of the last layer's logits; sampling: a caller with too many values for
          memory takes fewer batches.
Read      affine.py first, entropy.py and aciq.py next.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reference.quantization.affine import (
    Grid,
    Range,
    asymmetric_grid,
    fake_quantize,
    tensor_range,
    widened,
)

Calibrator = Callable[[Sequence[Tensor]], Range]
MakeGrid = Callable[[Range], Grid]


def min_max(batches: Sequence[Float[Tensor, "..."]]) -> Range:
    """Everything that was seen. One outlier is enough to ruin it; order does not matter."""
    ranges = _batch_ranges(batches)
    return Range(
        torch.stack([each.low for each in ranges]).min(),
        torch.stack([each.high for each in ranges]).max(),
    )


def moving_average(batches: Sequence[Float[Tensor, "..."]], momentum: float = 0.9) -> Range:
    """The ends of a typical batch, the last ones counting most: the order of batches matters."""
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum}")
    low, high = (ranges := _batch_ranges(batches))[0]
    for batch in ranges[1:]:
        low = momentum * low + (1 - momentum) * batch.low
        high = momentum * high + (1 - momentum) * batch.high
    return Range(low, high)


def percentile(batches: Sequence[Float[Tensor, "..."]], percent: float = 99.99) -> Range:
    """All but the extreme (100 - percent) % of the values at each end; 100 is min-max."""
    if not 50 < percent <= 100:
        raise ValueError(f"percent must be above 50 and at most 100, got {percent}")
    values = joined(batches)
    outside = int((100 - percent) / 100 * (values.numel() - 1))  # values beyond each end
    if outside == 0:
        return tensor_range(values)
    ordered = values.sort().values
    return Range(ordered[outside], ordered[-1 - outside])


def mean_squared_error(
    batches: Sequence[Float[Tensor, "..."]], make_grid: MakeGrid = asymmetric_grid, steps: int = 100
) -> Range:
    """The clip that loses least in the mean square, for the grid it will be used with.

    The full range is always tried, so it is never worse than min-max on these batches.
    """
    values = joined(batches)
    return narrowed(values, tensor_range(values), make_grid, steps)


def narrowed(
    values: Float[Tensor, "..."],
    span: Range,
    make_grid: MakeGrid = asymmetric_grid,
    steps: int = 100,
) -> Range:
    """Each range of `span` times the f that loses least in the mean square of its own values.

    The ranges of channels or rows are searched beside each other, each for itself; for groups,
    unflatten the values: a range serves all values that it is broadcast over.

    Raises:
        ValueError: steps are below 1, or values are not finite.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    values = widened(values)
    best = span
    least = torch.full_like(span.low, torch.inf)
    for step in range(steps, 0, -1):
        tried = Range(span.low * (step / steps), span.high * (step / steps))
        error = (values - fake_quantize(values, make_grid(tried))).square()
        error = error.sum_to_size(span.low.shape)
        better = error < least
        least = torch.where(better, error, least)
        best = Range(*(torch.where(better, *ends) for ends in zip(tried, best, strict=True)))
    return best


def ends(batch: Float[Tensor, "..."]) -> Float[Tensor, "2"]:
    """The lowest and the highest value: all that RANGE_ONLY calibrators look at."""
    return torch.stack(tensor_range(batch))


def squared_error(values: Float[Tensor, "..."], grid: Grid) -> float:
    return (values - fake_quantize(values, grid)).square().mean().item()


def joined(batches: Iterable[Float[Tensor, "..."]]) -> Float[Tensor, " values"]:
    """All values of all batches, at least in float32.

    Raises:
        ValueError: there are none.
    """
    parts = [batch.flatten() for batch in batches]
    if not parts:
        raise ValueError("calibration needs at least one batch, got none")
    values = torch.cat(parts)
    return values if values.dtype == torch.float64 else values.float()


RANGE_ONLY: tuple[Calibrator, ...] = (min_max, moving_average)


def _batch_ranges(batches: Sequence[Tensor]) -> list[Range]:
    ranges = [tensor_range(batch) for batch in batches]
    if not ranges:
        raise ValueError("calibration needs at least one batch, got none")
    return ranges
