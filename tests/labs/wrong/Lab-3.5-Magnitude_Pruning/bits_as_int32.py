"""Bytes in int32."""

# wrong: 04/test-pack-bits


def pack_bits(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mask.numpy(), axis=1, bitorder="little")).int()
