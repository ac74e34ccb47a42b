"""Finds epsilon anew once, and caps the second time."""

# wrong: 02/test-erk-densities


def erk_densities(shapes: dict[str, tuple[int, int]], sparsity: float) -> dict[str, float]:
    sizes = {name: rows * columns for name, (rows, columns) in shapes.items()}
    ratios = {name: (rows + columns) / sizes[name] for name, (rows, columns) in shapes.items()}
    budget = (1 - sparsity) * sum(sizes.values())
    epsilon = budget / sum(ratios[name] * sizes[name] for name in shapes)
    whole = [name for name in shapes if epsilon * ratios[name] >= 1]
    free = [name for name in shapes if name not in whole]
    left = budget - sum(sizes[name] for name in whole)
    if free:
        epsilon = left / sum(ratios[name] * sizes[name] for name in free)
    return {name: 1.0 if name in whole else min(1.0, epsilon * ratios[name]) for name in shapes}
