"""Fills up missing values, and drops superfluous ones."""

# wrong: 04/test-from-bitmap


def from_bitmap(values: Tensor, bits: Tensor, columns: int) -> Tensor:
    mask = torch.from_numpy(np.unpackbits(bits.numpy(), axis=1, count=columns, bitorder="little"))
    dense = torch.zeros(mask.shape, dtype=values.dtype)
    places = mask.flatten().nonzero().flatten()[: len(values)]
    dense.view(-1)[places] = values[: len(places)]
    return dense
