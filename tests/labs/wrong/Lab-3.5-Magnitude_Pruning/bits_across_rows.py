"""Packs the whole matrix as one run of bits."""

# wrong: 04/test-pack-bits


def pack_bits(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mask.flatten().numpy(), axis=0, bitorder="little"))
