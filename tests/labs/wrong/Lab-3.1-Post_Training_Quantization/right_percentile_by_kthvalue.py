"""Selects the two order statistics without sorting."""

# right: 02


def percentile_range(x: Tensor, percent: float) -> tuple[float, float]:
    if not 50 < percent <= 100:
        raise ValueError("percent must be above 50 and at most 100")
    flat = x.flatten()
    outside = int((100 - percent) / 100 * (flat.numel() - 1))
    low = flat.kthvalue(1 + outside).values
    return low.item(), flat.kthvalue(flat.numel() - outside).values.item()
