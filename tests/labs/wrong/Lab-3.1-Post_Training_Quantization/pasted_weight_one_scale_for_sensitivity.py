"""Pastes a weight quantizer with one scale for the tensor; it is not graded by itself."""

# wrong: 04/test-layer-sensitivity


def quantize_weight(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    top = 2 ** (bits - 1) - 1
    scale = (weight.abs().max() / top).expand(len(weight)).clone()
    along = scale.reshape(-1, *[1] * (weight.dim() - 1))
    return (weight / along).round().clamp(-top, top).to(torch.int8), scale
