"""Adds the zero point before rounding; both sums round to the same code."""

# right: 01


def quantize(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return (x.double() / scale + zero_point).round().clamp(0, 2**bits - 1).int()
