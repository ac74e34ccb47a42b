"""Removes the unused rows and nothing else."""

# wrong: 04/test-table-mask


def table_mask(table: Tensor, counts: Tensor, sparsity: float) -> Tensor:
    if counts.shape != table.shape[:1]:
        raise ValueError("not one count for each row")
    return (counts > 0)[:, None].expand(table.shape).clone()
