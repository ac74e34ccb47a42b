"""Leaves out half of the share at each end."""

# wrong: 02/test-percentile-range


def percentile_range(x: Tensor, percent: float) -> tuple[float, float]:
    if not 50 < percent <= 100:
        raise ValueError("percent must be above 50 and at most 100")
    ordered = x.flatten().sort().values
    outside = int((100 - percent) / 200 * (len(ordered) - 1))
    return ordered[outside].item(), ordered[-1 - outside].item()
