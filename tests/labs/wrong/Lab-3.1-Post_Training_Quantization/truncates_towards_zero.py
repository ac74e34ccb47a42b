"""Casts to integers without rounding first."""

# wrong: 01/test-quantize


def quantize(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    codes = (x / scale).to(torch.int32) + zero_point
    return codes.clamp(0, 2**bits - 1)
