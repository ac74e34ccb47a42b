"""Takes the variance."""

# wrong: 01/test-deviation-mask


def deviation_mask(weight: Tensor, factor: float) -> Tensor:
    if factor < 0:
        raise ValueError(f"a threshold lies at 0 or more standard deviations, got {factor}")
    return weight.abs() >= factor * weight.var(correction=0)
