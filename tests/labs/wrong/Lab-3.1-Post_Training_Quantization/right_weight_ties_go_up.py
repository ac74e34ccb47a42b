"""Rounds ties up: such a code is as near, and the contract of weights asks for no more."""

# right: 01


def quantize_weight(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    top = 2 ** (bits - 1) - 1
    scale = weight.flatten(1).abs().amax(1) / top
    scale = torch.where(scale == 0, 1.0, scale)
    along = scale.reshape(-1, *[1] * (weight.dim() - 1))
    return (weight / along + 0.5).floor().clamp(-top, top).to(torch.int8), scale
