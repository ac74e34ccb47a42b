"""Does not widen the range, and clamps the zero point, so that it looks like a code."""

# wrong: 01/test-affine-parameters


def affine_parameters(low: float, high: float, bits: int) -> tuple[float, int]:
    if low > high:
        raise ValueError("low is above high")
    scale = (high - low) / (2**bits - 1)
    if scale == 0:
        return 1.0, 0
    return scale, min(max(round(-low / scale), 0), 2**bits - 1)
