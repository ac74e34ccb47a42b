"""Does not look at the number of counts."""

# wrong: 04/test-table-mask


def table_mask(table: Tensor, counts: Tensor, sparsity: float) -> Tensor:
    counts = torch.nn.functional.pad(counts, (0, len(table)))[: len(table)]
    used = counts > 0
    mask = torch.zeros(table.shape, dtype=torch.bool)
    sizes = table[used].abs()
    mask[used] = without_lowest(sizes, removed_count(sizes.numel(), sparsity))
    return mask
