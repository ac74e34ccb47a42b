"""Returns the padding of each row, too."""

# wrong: 04/test-from-bitmap


def from_bitmap(values: Tensor, bits: Tensor, columns: int) -> Tensor:
    mask = torch.from_numpy(np.unpackbits(bits.numpy(), axis=1, bitorder="little"))
    if mask.sum() != len(values):
        raise ValueError(f"{len(values)} values for {mask.sum()} places")
    dense = torch.zeros(mask.shape, dtype=values.dtype)
    dense[mask.bool()] = values
    return dense
