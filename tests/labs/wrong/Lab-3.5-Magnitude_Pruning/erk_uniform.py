"""The same density for all."""

# wrong: 02/test-erk-densities


def erk_densities(shapes: dict[str, tuple[int, int]], sparsity: float) -> dict[str, float]:
    return dict.fromkeys(shapes, float(1 - sparsity))
