"""Gives unused rows a size below all, and removes them with the rest in one cut."""

# right: 04


def table_mask(table: Tensor, counts: Tensor, sparsity: float) -> Tensor:
    if len(counts) != len(table):
        raise ValueError("not one count for each row")
    unused = (counts == 0)[:, None].expand_as(table)
    sizes = table.abs().masked_fill(unused, -torch.inf)
    among = int((~unused).sum())
    return without_lowest(sizes, int(unused.sum()) + removed_count(among, sparsity))
