"""Clamps to the range of codes before the zero point is added."""

# wrong: 01/test-quantize


def quantize(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return ((x / scale).round().clamp(0, 2**bits - 1) + zero_point).to(torch.int32)
