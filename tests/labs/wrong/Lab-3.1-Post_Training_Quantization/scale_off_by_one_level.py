"""Divides the range by the number of codes, not by the number of steps between them."""

# wrong: 01/test-affine-parameters


def affine_parameters(low: float, high: float, bits: int) -> tuple[float, int]:
    if low > high:
        raise ValueError("low is above high")
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 2**bits
    return (scale, round(-low / scale)) if scale > 0 else (1.0, 0)
