"""Clamps the progress and lets the formula do the ends."""

# right: 03


def cubic_sparsity(step: int, begin: int, end: int, first: float, last: float) -> float:
    if end <= begin or not (0 <= first <= last <= 1):
        raise ValueError("no schedule")
    progress = min(1.0, max(0.0, (step - begin) / (end - begin)))
    if progress in (0.0, 1.0):
        return float(last) if progress else float(first)
    rest = 1.0 - progress
    return float(last - (last - first) * rest * rest * rest)
