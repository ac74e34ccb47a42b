"""Rounds with floor(x + 1/2): ties go up, and not to the even code."""

# wrong: 01/test-quantize


def quantize(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    codes = (x / scale + 0.5).floor() + zero_point
    return codes.clamp(0, 2**bits - 1).to(torch.int32)
