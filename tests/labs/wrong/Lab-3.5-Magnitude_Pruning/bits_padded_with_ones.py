"""Pads the last byte with ones."""

# wrong: 04/test-pack-bits


def pack_bits(mask: Tensor) -> Tensor:
    return torch.from_numpy(
        np.packbits(
            F.pad(mask, (0, -mask.shape[1] % 8), value=True).numpy(), axis=1, bitorder="little"
        )
    )
