"""Swaps the ends of a range that is upside down, where the contract asks for an error."""

# wrong: 01/test-affine-parameters


def affine_parameters(low: float, high: float, bits: int) -> tuple[float, int]:
    low, high = min(low, high, 0.0), max(low, high, 0.0)
    scale = (high - low) / (2**bits - 1)
    return (scale, round(-low / scale)) if scale > 0 else (1.0, 0)
