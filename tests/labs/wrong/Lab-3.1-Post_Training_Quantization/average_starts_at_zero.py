"""Starts the average at zero, which pulls both ends inwards."""

# wrong: 02/test-moving-average-range


def moving_average_range(lows: Tensor, highs: Tensor, momentum: float) -> tuple[float, float]:
    low = high = torch.zeros(())
    for batch_low, batch_high in zip(lows, highs, strict=True):
        low = momentum * low + (1 - momentum) * batch_low
        high = momentum * high + (1 - momentum) * batch_high
    return low.item(), high.item()
