"""Caps at 1 and forgets what that frees."""

# wrong: 02/test-erk-densities


def erk_densities(shapes: dict[str, tuple[int, int]], sparsity: float) -> dict[str, float]:
    sizes = {name: rows * columns for name, (rows, columns) in shapes.items()}
    ratios = {name: (rows + columns) / sizes[name] for name, (rows, columns) in shapes.items()}
    epsilon = (
        (1 - sparsity) * sum(sizes.values()) / sum(ratios[name] * sizes[name] for name in shapes)
    )
    return {name: min(1.0, epsilon * ratios[name]) for name in shapes}
