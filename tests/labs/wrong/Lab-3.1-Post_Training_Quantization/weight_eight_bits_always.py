"""Writes 127 where the number of bits belongs."""

# wrong: 01/test-quantize-weight


def quantize_weight(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    scale = weight.flatten(1).abs().amax(1) / 127
    scale = torch.where(scale == 0, 1.0, scale)
    along = scale.reshape(-1, *[1] * (weight.dim() - 1))
    return (weight / along).round().clamp(-127, 127).to(torch.int8), scale
