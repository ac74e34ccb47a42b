"""Gives the momentum to the new batch."""

# wrong: 02/test-moving-average-range


def moving_average_range(lows: Tensor, highs: Tensor, momentum: float) -> tuple[float, float]:
    low, high = lows[0], highs[0]
    for batch_low, batch_high in zip(lows[1:], highs[1:], strict=True):
        low = (1 - momentum) * low + momentum * batch_low
        high = (1 - momentum) * high + momentum * batch_high
    return low.item(), high.item()
