"""Loops over the channels and stacks what it finds."""

# right: 01


def quantize_weight(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    top, codes, scales = 2 ** (bits - 1) - 1, [], []
    for channel in weight:
        largest = max(channel.max().item(), -channel.min().item())
        scales.append(largest / top if largest > 0 else 1.0)
        codes.append(torch.round(channel / scales[-1]).to(torch.int8))
    return torch.stack(codes), torch.tensor(scales, dtype=torch.float32)
