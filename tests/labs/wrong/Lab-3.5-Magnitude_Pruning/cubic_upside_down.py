"""Slow at first and fast at the end."""

# wrong: 03/test-cubic-sparsity


def cubic_sparsity(step: int, begin: int, end: int, first: float, last: float) -> float:
    if end <= begin:
        raise ValueError(f"the schedule must end after it begins, got {begin} to {end}")
    if not 0 <= first <= last <= 1:
        raise ValueError(f"sparsity rises within 0 and 1, got {first} to {last}")
    if step <= begin or step >= end:
        return float(first if step <= begin else last)
    left = 1 - (step - begin) / (end - begin)
    return first + (last - first) * (1 - left) ** 3
