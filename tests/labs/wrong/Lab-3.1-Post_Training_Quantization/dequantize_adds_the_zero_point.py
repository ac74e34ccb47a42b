"""Has the sign of the zero point wrong on the way back."""

# wrong: 01/test-quantize


def dequantize(codes: Tensor, scale: float, zero_point: int) -> Tensor:
    return (codes.float() + zero_point) * scale
