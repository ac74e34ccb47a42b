"""Lets torch compress the rows."""

# right: 04


def to_csr(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    sparse = weight.to_sparse_csr()
    return sparse.values(), sparse.col_indices().int(), sparse.crow_indices().int()
