"""Shifts each byte eight times, and scatters."""

# right: 04


def from_bitmap(values: Tensor, bits: Tensor, columns: int) -> Tensor:
    lifted = (bits.int()[:, :, None] >> torch.arange(8)) & 1
    mask = lifted.flatten(1)[:, :columns].bool()
    if int(mask.sum()) != values.numel():
        raise ValueError("bits and values do not match")
    return torch.zeros(mask.shape, dtype=values.dtype).masked_scatter(mask, values)
