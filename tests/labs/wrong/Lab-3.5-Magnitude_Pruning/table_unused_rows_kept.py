"""Prunes by magnitude alone."""

# wrong: 04/test-table-mask


def table_mask(table: Tensor, counts: Tensor, sparsity: float) -> Tensor:
    if counts.shape != table.shape[:1]:
        raise ValueError("not one count for each row")
    sizes = table.abs()
    return without_lowest(sizes, removed_count(sizes.numel(), sparsity))
