"""Searches epsilon by halving, and lets min do the capping."""

# right: 02


def erk_densities(shapes: dict[str, tuple[int, int]], sparsity: float) -> dict[str, float]:
    import math

    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    ratios = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    budget, low, high = (1 - sparsity) * sum(sizes.values()), 0.0, 1 / min(ratios.values())
    for _ in range(200):
        middle = (low + high) / 2
        spent = sum(min(1.0, middle * ratios[name]) * sizes[name] for name in shapes)
        low, high = (middle, high) if spent < budget else (low, middle)
    return {name: min(1.0, high * ratios[name]) for name in shapes}
