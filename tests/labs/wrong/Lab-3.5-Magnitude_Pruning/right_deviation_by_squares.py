"""The mean of the squares less the square of the mean."""

# right: 01


def deviation_mask(weight: Tensor, factor: float) -> Tensor:
    if factor < 0:
        raise ValueError("negative")
    wide = weight.double()
    sigma = ((wide**2).mean() - wide.mean() ** 2).clamp(min=0).sqrt()
    return wide.abs() >= factor * sigma
