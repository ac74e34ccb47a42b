"""Keeps the top code unused, as a symmetric grid does with its lowest."""

# wrong: 01/test-quantize


def quantize(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    codes = (x / scale).round() + zero_point
    return codes.clamp(0, 2**bits - 2).to(torch.int32)
