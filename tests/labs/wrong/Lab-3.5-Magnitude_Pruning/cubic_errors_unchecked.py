"""Checks nothing."""

# wrong: 03/test-cubic-sparsity


def cubic_sparsity(step: int, begin: int, end: int, first: float, last: float) -> float:
    if step <= begin or step >= end:
        return float(first if step <= begin else last)
    left = 1 - (step - begin) / (end - begin)
    return last + (first - last) * left**3
