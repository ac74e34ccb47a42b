"""Forgets .item() at both ends."""

# wrong: 02/test-percentile-range


def percentile_range(x: Tensor, percent: float) -> tuple[Tensor, Tensor]:
    if not 50 < percent <= 100:
        raise ValueError("percent must be above 50 and at most 100")
    ordered = x.flatten().sort().values
    outside = int((100 - percent) / 100 * (len(ordered) - 1))
    return ordered[outside], ordered[-1 - outside]
