"""What a search may choose: named choices, what a candidate costs, and what it may cost.

    candidate      one value for each choice: the width of a layer, heads, depth, sparsity, bits
    size           prod |values|, before any budget
    load           max over constraints of cost / budget         a candidate fits where it is <= 1

Values stand from cheap to dear. The smallest candidate has the first of each and must fit: so there
is always a way back under the budget, whatever the costs are and however they depend on each other.

Source    Elsken, Metzen and Hutter, "Neural Architecture Search: A Survey", JMLR 2019,
          arXiv:1808.05377 (space, strategy and estimation kept apart).
Left out  Choices that exist only where another has a certain value.
Read      This file first, then moves.py and evaluation.py.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Value = int | float | str
MOST_ENUMERATED = 4096
ROUNDING = 1e-12  # of a float64 sum of up to a few thousand terms


class Candidate(Mapping[str, Value]):
    """A value for each choice; equal and hashed by what it says."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self._values.items())

    def but(self, name: str, value: Value) -> "Candidate":
        """The same with another value for one choice."""
        return Candidate({**self._values, name: value})


@dataclass(frozen=True)
class Choice:
    name: str
    values: tuple[Value, ...]  # from cheap to dear

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise ValueError(f"choice {self.name!r} needs distinct values, got {self.values}")


@dataclass(frozen=True)
class Constraint:
    name: str
    cost: Callable[[Candidate], float]
    budget: float

    def __post_init__(self) -> None:
        if not 0 < self.budget < math.inf:
            raise ValueError(f"the budget of {self.name!r} must be above 0, got {self.budget:g}")

    def load(self, candidate: Candidate) -> float:
        """Cost as a share of the budget.

        Raises:
            ValueError: the cost is negative or not finite.
        """
        cost = self.cost(candidate)
        if not 0 <= cost < math.inf:
            raise ValueError(f"{self.name!r} must cost 0 or more, got {cost} for {candidate}")
        return cost / self.budget


@dataclass(frozen=True)
class Space:
    """
    Raises:
        ValueError: no choice, two of a name, or a budget that not even the smallest candidate fits.
    """

    choices: tuple[Choice, ...]
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        if not self.choices or len(set(self.names)) < len(self.names):
            raise ValueError(f"a space needs choices of distinct names, got {self.names}")
        for each in self.constraints:
            if each.load(self.smallest) > 1 + ROUNDING:
                least = each.cost(self.smallest)
                told = f"a budget of {each.budget:g} for {each.name!r}"
                raise ValueError(f"{told}; the smallest candidate costs {least:g}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.choices)

    @property
    def size(self) -> int:
        return math.prod(len(each.values) for each in self.choices)

    @property
    def smallest(self) -> Candidate:
        return self.at([0] * len(self.choices))

    @property
    def largest(self) -> Candidate:
        """The last of every choice; it need not fit."""
        return self.at([len(each.values) - 1 for each in self.choices])

    def at(self, places: Sequence[int]) -> Candidate:
        """The candidate with these places among each choice's values."""
        pairs = zip(self.choices, places, strict=True)
        return Candidate({each.name: each.values[place] for each, place in pairs})

    def places(self, candidate: Mapping[str, Value]) -> list[int]:
        """Where each value stands among its choice's.

        Raises:
            ValueError: a choice that is unknown, missing, or has no such value.
        """
        if odd := sorted(candidate.keys() ^ set(self.names)):
            raise ValueError(f"{odd[0]!r} is unknown or missing; the choices are {self.names}")
        for each in self.choices:
            if candidate[each.name] not in each.values:
                value = candidate[each.name]
                raise ValueError(f"{each.name!r} is one of {each.values}, got {value!r}")
        return [each.values.index(candidate[each.name]) for each in self.choices]

    def load(self, candidate: Candidate) -> float:
        """The largest share of a budget that it takes; 0 where there is no constraint."""
        return max((each.load(candidate) for each in self.constraints), default=0.0)

    def fits(self, candidate: Candidate) -> bool:
        return self.load(candidate) <= 1 + ROUNDING

    def fitting(self, limit: int = MOST_ENUMERATED) -> Iterator[Candidate]:
        """Every candidate that fits, the first choice varying slowest.

        Raises:
            ValueError: the space is larger than `limit`.
        """
        if self.size > limit:
            raise ValueError(f"a space of {self.size} candidates; at most {limit} are enumerated")
        every = itertools.product(*(range(len(each.values)) for each in self.choices))
        return (found for found in map(self.at, every) if self.fits(found))
