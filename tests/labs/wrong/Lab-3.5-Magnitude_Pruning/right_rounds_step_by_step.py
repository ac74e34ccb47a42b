"""Keeps what is left, round by round."""

# right: 03


def round_sparsities(share: float, rounds: int) -> list[float]:
    if share <= 0 or share >= 1:
        raise ValueError("no share")
    left, found = 1.0, []
    for _ in range(rounds):
        left = left - share * left
        found.append(1.0 - left)
    return found
