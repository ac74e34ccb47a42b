"""Takes any percentage, also one that turns the range around."""

# wrong: 02/test-percentile-range


def percentile_range(x: Tensor, percent: float) -> tuple[float, float]:
    ordered = x.flatten().sort().values
    outside = int((100 - percent) / 100 * (len(ordered) - 1))
    return ordered[outside].item(), ordered[-1 - outside].item()
