"""Keeps what is above zero."""

# wrong: 04/test-to-csr


def to_csr(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    kept = weight > 0
    columns = kept.nonzero()[:, 1].to(torch.int32)
    pointers = torch.zeros(len(weight) + 1, dtype=torch.int32)
    pointers[1:] = kept.sum(dim=1).cumsum(0)
    return weight[kept], columns, pointers
