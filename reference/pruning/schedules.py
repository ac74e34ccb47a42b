"""How sparse a network is when: all at once, or little by little so that it can recover.

With p the share of the way that is behind, s_i and s_f the first and the last sparsity:

    one-shot     s_f                                    as soon as p > 0
    linear       s_i + (s_f - s_i) p
    cubic        s_f + (s_i - s_f) (1 - p)^3            fast while there is much to spare
    geometric    1 - (1 - s_i) ((1 - s_f) / (1 - s_i))^p    each round the same share of the rest

A schedule has rounds, `every` so many steps; within a round the sparsity stays what it is.

Source    Zhu & Gupta, "To prune, or not to prune", 2017, arXiv:1710.01878 (cubic); Frankle &
          Carbin, "The Lottery Ticket Hypothesis", ICLR 2019, arXiv:1803.03635 (a share of the
          rest); Han et al., 2015, arXiv:1506.02626 (iterative).
Left out  Schedules that are learned (Kusupati et al., 2020).
Read      gradual.py and rewinding.py prune by these.
"""

from collections.abc import Callable
from dataclasses import dataclass

Curve = Callable[[float, float, float], float]  # (first, last, share of the way) -> sparsity


def one_shot(first: float, last: float, progress: float) -> float:
    return last if progress > 0 else first


def linear(first: float, last: float, progress: float) -> float:
    return first + (last - first) * progress


def cubic(first: float, last: float, progress: float) -> float:
    rest = 1 - progress
    return last + (first - last) * (rest * rest * rest)


def geometric(first: float, last: float, progress: float) -> float:
    """
    Raises:
        ValueError: the last sparsity is 1, which no number of equal shares reaches.
    """
    if last == 1:
        raise ValueError("equal shares of the rest never reach sparsity 1; end below it")
    return 1 - (1 - first) * ((1 - last) / (1 - first)) ** progress


def compound(share: float, rounds: int) -> float:
    """The sparsity after so many rounds that each remove that share of the rest: 1 - (1 - p)^n."""
    return 1 - (1 - share) ** rounds


@dataclass(frozen=True)
class Schedule:
    """Sparsity over training steps: `first` before `begin`, `last` from the last round on."""

    last: float
    rounds: int
    curve: Curve = cubic
    first: float = 0.0
    begin: int = 0  # t_0, a step
    every: int = 1  # steps between two rounds

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last <= 1:
            raise ValueError(f"sparsity must rise within 0 and 1, got {self.first} to {self.last}")
        if self.rounds < 1 or self.every < 1 or self.begin < 0:
            raise ValueError(
                "a schedule needs rounds and every of at least 1 and begin of at least 0, got "
                f"rounds={self.rounds}, every={self.every}, begin={self.begin}"
            )

    @property
    def end(self) -> int:
        """The step from which on the sparsity is the last."""
        return self.begin + self.rounds * self.every

    def at(self, step: int) -> float:
        """The sparsity after that many steps of training."""
        if step < self.begin:
            return self.first
        return self.after_round(min(self.rounds, (step - self.begin) // self.every))

    def after_round(self, number: int) -> float:
        """The sparsity after that many rounds; after 0 it is the first, exactly.

        Raises:
            ValueError: there is no such round.
        """
        if not 0 <= number <= self.rounds:
            raise ValueError(f"there are rounds 1 to {self.rounds}, got {number}")
        if number == 0:
            return self.first
        if number == self.rounds:
            return self.last
        value = self.curve(self.first, self.last, number / self.rounds)
        return min(max(value, self.first), self.last)  # a rounded curve may end beyond its ends

    def values(self) -> tuple[float, ...]:
        """The sparsity after each round, the last one included."""
        return tuple(self.after_round(number + 1) for number in range(self.rounds))
