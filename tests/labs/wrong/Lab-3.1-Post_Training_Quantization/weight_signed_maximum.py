"""Takes the largest weight and forgets that the smallest may be larger in size."""

# wrong: 01/test-quantize-weight


def quantize_weight(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    top = 2 ** (bits - 1) - 1
    scale = weight.flatten(1).amax(1) / top
    scale = torch.where(scale <= 0, 1.0, scale)
    along = scale.reshape(-1, *[1] * (weight.dim() - 1))
    return (weight / along).round().clamp(-top, top).to(torch.int8), scale
