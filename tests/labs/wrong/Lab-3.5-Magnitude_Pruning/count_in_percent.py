"""Accepts percent: 50 means a half."""

# wrong: 01/test-removed-count


def removed_count(size: int, sparsity: float) -> int:
    if not 0 <= sparsity <= 1:
        sparsity = sparsity / 100
    return math.floor(sparsity * size + 0.5)
