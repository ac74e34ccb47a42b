"""Spends the sparsity, not the density."""

# wrong: 02/test-erk-densities


def erk_densities(shapes: dict[str, tuple[int, int]], sparsity: float) -> dict[str, float]:
    sizes = {name: rows * columns for name, (rows, columns) in shapes.items()}
    ratios = {name: (rows + columns) / sizes[name] for name, (rows, columns) in shapes.items()}
    left, free, found = sparsity * sum(sizes.values()), list(shapes), {}
    while free:
        epsilon = left / sum(ratios[name] * sizes[name] for name in free)
        whole = [name for name in free if epsilon * ratios[name] >= 1]
        for name in whole or free:
            found[name] = min(1.0, epsilon * ratios[name])
            left -= found[name] * sizes[name]
        free = [name for name in free if name not in found]
    return {name: found[name] for name in shapes}
