"""Leaves the codes whole numbers in float32."""

# wrong: 01/test-quantize


def quantize(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return ((x / scale).round() + zero_point).clamp(0, 2**bits - 1)
