"""Always leaves one weight."""

# wrong: 01/test-removed-count


def removed_count(size: int, sparsity: float) -> int:
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity is the share that is removed, from 0 to 1; got {sparsity}")
    return max(0, min(size - 1, math.floor(sparsity * size + 0.5)))
