"""Computes the grid in exact fractions."""

# right: 01

from fractions import Fraction


def affine_parameters(low: float, high: float, bits: int) -> tuple[float, int]:
    if low > high:
        raise ValueError("low is above high")
    below, above = min(Fraction(low), 0), max(Fraction(high), 0)
    if below == above:
        return 1.0, 0
    scale = Fraction(above - below) / (2**bits - 1)
    return float(scale), round(-below / scale)
