"""A deviation for each row."""

# wrong: 01/test-deviation-mask


def deviation_mask(weight: Tensor, factor: float) -> Tensor:
    if factor < 0:
        raise ValueError(f"a threshold lies at 0 or more standard deviations, got {factor}")
    return weight.abs() >= factor * weight.reshape(len(weight), -1).std(
        dim=1, correction=0
    ).reshape(-1, *[1] * (weight.dim() - 1))
