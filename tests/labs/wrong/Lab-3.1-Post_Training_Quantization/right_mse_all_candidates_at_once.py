"""Quantizes for all factors in one tensor, in float64, with a grid of its own."""

# right: 02


def mse_range(x: Tensor, bits: int, steps: int) -> tuple[float, float]:
    low, high, top = x.min().item(), x.max().item(), 2**bits - 1
    factors = torch.arange(1, steps + 1).double() / steps
    lows, highs = factors * min(low, 0.0), factors * max(high, 0.0)
    scale = ((highs - lows) / top)[:, None]
    zero = (-lows[:, None] / scale).round()
    flat = x.flatten().double()
    back = ((flat / scale).round() + zero).clamp(0, top).sub(zero) * scale
    best = (back - flat).square().mean(1).argmin()
    return factors[best].item() * low, factors[best].item() * high
