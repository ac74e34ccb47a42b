"""Uses all 256 codes: the step is largest / 128, and -128 occurs."""

# wrong: 01/test-quantize-weight


def quantize_weight(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    top = 2 ** (bits - 1)
    scale = weight.flatten(1).abs().amax(1) / top
    scale = torch.where(scale == 0, 1.0, scale)
    along = scale.reshape(-1, *[1] * (weight.dim() - 1))
    return (weight / along).round().clamp(-top, top - 1).to(torch.int8), scale
