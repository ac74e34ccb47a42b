"""Takes the percentile of |x| and reaches equally far on both sides."""

# wrong: 02/test-percentile-range


def percentile_range(x: Tensor, percent: float) -> tuple[float, float]:
    if not 50 < percent <= 100:
        raise ValueError("percent must be above 50 and at most 100")
    ordered = x.flatten().abs().sort().values
    reach = ordered[-1 - int((100 - percent) / 100 * (len(ordered) - 1))].item()
    return -reach, reach
