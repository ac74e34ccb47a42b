"""Forgets saturation: a value outside of the range has a code that no byte holds."""

# wrong: 01/test-quantize


def quantize(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return ((x / scale).round() + zero_point).to(torch.int32)
