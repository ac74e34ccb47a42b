"""Pastes a grid whose step is the range over the number of codes, which clips the top."""

# wrong: 02/test-mse-range


def affine_parameters(low: float, high: float, bits: int) -> tuple[float, int]:
    scale = (max(high, 0.0) - min(low, 0.0)) / 2**bits or 1.0
    return scale, round(-min(low, 0.0) / scale)
