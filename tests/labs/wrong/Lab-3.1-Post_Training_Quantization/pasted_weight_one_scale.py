"""Pastes a version with one scale for the whole weight."""

# wrong: 03/test-quantize-weight


def quantize_weight(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    top = 2 ** (bits - 1) - 1
    scale = (weight.abs().max() / top).expand(len(weight)).clone()
    return (weight / scale[:, None]).round().clamp(-top, top).to(torch.int8), scale
