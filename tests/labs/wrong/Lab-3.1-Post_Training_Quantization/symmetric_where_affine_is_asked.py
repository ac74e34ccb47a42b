"""Reaches equally far on both sides, which wastes half of the codes on a skewed range."""

# wrong: 01/test-affine-parameters


def affine_parameters(low: float, high: float, bits: int) -> tuple[float, int]:
    if low > high:
        raise ValueError("low is above high")
    reach = max(-low, high, 0.0)
    scale = 2 * reach / (2**bits - 1)
    return (scale, 2 ** (bits - 1)) if scale > 0 else (1.0, 0)
