"""Packs down the columns."""

# wrong: 04/test-pack-bits


def pack_bits(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mask.numpy(), axis=0, bitorder="little"))
