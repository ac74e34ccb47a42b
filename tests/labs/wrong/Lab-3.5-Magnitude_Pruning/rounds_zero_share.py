"""Accepts a share of 0."""

# wrong: 03/test-round-sparsities


def round_sparsities(share: float, rounds: int) -> list[float]:
    if not 0 <= share < 1:
        raise ValueError(f"a round removes a share between 0 and 1 of the rest, got {share}")
    return [1 - (1 - share) ** number for number in range(1, rounds + 1)]
