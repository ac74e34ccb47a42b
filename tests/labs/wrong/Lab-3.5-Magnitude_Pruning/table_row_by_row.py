"""Each row loses the same share."""

# wrong: 04/test-table-mask


def table_mask(table: Tensor, counts: Tensor, sparsity: float) -> Tensor:
    if counts.shape != table.shape[:1]:
        raise ValueError(f"{len(table)} rows need as many counts, got {tuple(counts.shape)}")
    used = counts > 0
    mask = torch.zeros(table.shape, dtype=torch.bool)
    sizes = table[used].abs()
    kept = [without_lowest(row, removed_count(len(row), sparsity)) for row in sizes]
    mask[used] = torch.stack(kept) if kept else mask[used]
    return mask
