"""Takes the sparsity for a density."""

# wrong: 04/test-table-mask


def table_mask(table: Tensor, counts: Tensor, sparsity: float) -> Tensor:
    if counts.shape != table.shape[:1]:
        raise ValueError(f"{len(table)} rows need as many counts, got {tuple(counts.shape)}")
    used = counts > 0
    mask = torch.zeros(table.shape, dtype=torch.bool)
    sizes = table[used].abs()
    mask[used] = without_lowest(sizes, removed_count(sizes.numel(), 1 - sparsity))
    return mask
