"""Pastes a `removed_count` that takes the share for what is kept."""

# wrong: 04/test-table-mask


def removed_count(size: int, sparsity: float) -> int:
    if not 0 <= sparsity <= 1:
        raise ValueError("no share")
    return int((1 - sparsity) * size + 0.5)
