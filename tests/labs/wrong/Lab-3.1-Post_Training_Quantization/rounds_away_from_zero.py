"""Rounds as schools teach it: the half goes away from zero."""

# wrong: 01/test-quantize


def quantize(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    codes = x.sign() * (x.abs() / scale + 0.5).floor() + zero_point
    return codes.clamp(0, 2**bits - 1).to(torch.int32)
