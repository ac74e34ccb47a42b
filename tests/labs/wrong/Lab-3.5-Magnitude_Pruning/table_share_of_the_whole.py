"""Takes the sparsity of the whole table, unused rows first."""

# wrong: 04/test-table-mask


def table_mask(table: Tensor, counts: Tensor, sparsity: float) -> Tensor:
    if counts.shape != table.shape[:1]:
        raise ValueError("not one count for each row")
    sizes = table.abs().masked_fill((counts == 0)[:, None], -1)
    removed = max(removed_count(sizes.numel(), sparsity), int((sizes < 0).sum()))
    return without_lowest(sizes, removed)
