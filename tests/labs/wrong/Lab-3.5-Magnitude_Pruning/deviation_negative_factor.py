"""Accepts a negative factor."""

# wrong: 01/test-deviation-mask


def deviation_mask(weight: Tensor, factor: float) -> Tensor:
    return weight.abs() >= factor * weight.std(correction=0)
