"""Takes 20 for 20 %."""

# wrong: 03/test-round-sparsities


def round_sparsities(share: float, rounds: int) -> list[float]:
    return [1 - (1 - share) ** number for number in range(1, rounds + 1)]
