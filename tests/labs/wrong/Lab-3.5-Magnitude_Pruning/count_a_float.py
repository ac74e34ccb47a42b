"""Returns the count as a float."""

# wrong: 01/test-removed-count


def removed_count(size: int, sparsity: float) -> int:
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity is the share that is removed, from 0 to 1; got {sparsity}")
    return float(math.floor(sparsity * size + 0.5))
