"""Whole part, and one more if the rest is half or above."""

# right: 01


def removed_count(size: int, sparsity: float) -> int:
    if sparsity < 0 or sparsity > 1:
        raise ValueError("not a share")
    whole, rest = divmod(sparsity * size, 1)
    return int(whole) + (rest >= 0.5)
