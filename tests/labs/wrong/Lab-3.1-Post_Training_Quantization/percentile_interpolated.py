"""Uses torch.quantile, which interpolates between the values that occurred."""

# wrong: 02/test-percentile-range


def percentile_range(x: Tensor, percent: float) -> tuple[float, float]:
    if not 50 < percent <= 100:
        raise ValueError("percent must be above 50 and at most 100")
    share = torch.tensor([1 - percent / 100, percent / 100])
    low, high = torch.quantile(x.flatten(), share)
    return low.item(), high.item()
