"""Pads to bytes and sums powers of two."""

# right: 04


def pack_bits(mask: Tensor) -> Tensor:
    padded = F.pad(mask.to(torch.int32), (0, -mask.shape[1] % 8))
    powers = 2 ** torch.arange(8, dtype=torch.int32)
    return (padded.reshape(len(mask), -1, 8) * powers).sum(dim=2).to(torch.uint8)
