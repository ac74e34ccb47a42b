"""Answers in float64, which the next layer would refuse."""

# wrong: 01/test-quantize


def dequantize(codes: Tensor, scale: float, zero_point: int) -> Tensor:
    return (codes.double() - zero_point) * scale
