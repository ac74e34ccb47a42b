"""Forgets .item() at the end."""

# wrong: 02/test-moving-average-range


def moving_average_range(lows: Tensor, highs: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
    low, high = lows[0], highs[0]
    for batch_low, batch_high in zip(lows[1:], highs[1:], strict=True):
        low = momentum * low + (1 - momentum) * batch_low
        high = momentum * high + (1 - momentum) * batch_high
    return low, high
