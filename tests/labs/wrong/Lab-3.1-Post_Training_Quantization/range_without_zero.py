"""Takes the range as it is; a range of positive values leaves zero outside of the grid."""

# wrong: 01/test-affine-parameters


def affine_parameters(low: float, high: float, bits: int) -> tuple[float, int]:
    if low > high:
        raise ValueError("low is above high")
    scale = (high - low) / (2**bits - 1)
    return (scale, round(-low / scale)) if scale > 0 else (1.0, 0)
