"""Steps through a space that never leave its budget: draw, change, cross, shrink.

What does not fit is drawn again; after so many failures the last one is shrunk, one value of a
random choice at a time, until it fits.

Source    Guo et al., "Single Path One-Shot NAS with Uniform Sampling", ECCV 2020, arXiv:1904.00420,
          section 3.4 (mutation and crossover repeated until the constraint holds).
Differs   The authors give up after a number of tries; here the last try is shrunk. Draws are
          uniform over what fits unless fewer than about one candidate in fifty does.
Read      space.py first.
"""

from collections.abc import Callable

import torch

from reference.pruning.search.space import Candidate, Space

TRIES = 100


def sampled(space: Space, generator: torch.Generator) -> Candidate:
    """A candidate that fits."""
    sizes = [len(each.values) for each in space.choices]
    return _fitting(space, lambda: space.at([below(n, generator) for n in sizes]), generator)


def mutated(
    space: Space, candidate: Candidate, generator: torch.Generator, rate: float
) -> Candidate:
    """Each choice takes another value with probability `rate`, at least one does; it fits.

    Raises:
        ValueError: the rate is not within 0 and 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"a mutation rate must be within 0 and 1, got {rate}")
    places = space.places(candidate)
    free = [row for row, each in enumerate(space.choices) if len(each.values) > 1]

    def changed() -> Candidate:
        drawn = torch.rand(len(free), generator=generator)
        rows = [row for row, u in zip(free, drawn.tolist(), strict=True) if u < rate]
        if free and not rows:
            rows = [free[below(len(free), generator)]]
        new = list(places)
        for row in rows:
            others = len(space.choices[row].values) - 1
            step = 1 + below(others, generator)
            new[row] = (places[row] + step) % (others + 1)
        return space.at(new)

    return _fitting(space, changed, generator)


def crossed(
    space: Space, one: Candidate, other: Candidate, generator: torch.Generator
) -> Candidate:
    """Each choice from one of the two, by the toss of a coin; it fits."""
    pairs = list(zip(space.places(one), space.places(other), strict=True))
    return _fitting(
        space, lambda: space.at([pair[below(2, generator)] for pair in pairs]), generator
    )


def neighbours(space: Space, candidate: Candidate) -> list[Candidate]:
    """All that fit and differ in one choice."""
    space.places(candidate)
    found = [
        candidate.but(each.name, value)
        for each in space.choices
        for value in each.values
        if value != candidate[each.name]
    ]
    return [each for each in found if space.fits(each)]


def shrunk(space: Space, candidate: Candidate, generator: torch.Generator) -> Candidate:
    """The candidate, random choices lowered one value at a time until it fits."""
    places = space.places(candidate)
    while not space.fits(space.at(places)):
        above = [row for row, place in enumerate(places) if place > 0]
        places[above[below(len(above), generator)]] -= 1
    return space.at(places)


def below(count: int, generator: torch.Generator) -> int:
    """A whole number from 0 to count - 1."""
    return int(torch.randint(count, (1,), generator=generator))


def _fitting(space: Space, draw: Callable[[], Candidate], generator: torch.Generator) -> Candidate:
    found = draw()
    for _ in range(TRIES - 1):
        if space.fits(found):
            return found
        found = draw()
    return shrunk(space, found, generator)
