"""Clamps a sparsity that makes no sense."""

# wrong: 01/test-removed-count


def removed_count(size: int, sparsity: float) -> int:
    if not 0 <= sparsity <= 1:
        sparsity = min(max(sparsity, 0.0), 1.0)
    return math.floor(sparsity * size + 0.5)
