"""How many blocks are timed, fixed beforehand: nobody repeats a measurement until it fits.

After each step of the schedule the interval is looked at. Blocks that something else disturbed do
not count, and are not chosen by their ratio: what disturbed them is seen in other clocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autograder.latency import MAX_DISTURBED, SCHEDULE, Block, speedup
from autograder.records import Interval


@dataclass(frozen=True)
class Timing:
    """All blocks of one measurement, in two heaps."""

    kept: tuple[Block, ...]
    disturbed: tuple[Block, ...]

    @property
    def usable(self) -> tuple[Block, ...]:
        """The kept blocks up to the last whole step: between steps nobody looks."""
        return self.kept[: max((step for step in SCHEDULE if step <= len(self.kept)), default=0)]


class NoMoreBlocks(Exception):
    """The time is over; what was timed before stands."""


def collect(take: Callable[[int], Block], enough: Callable[[Interval], bool]) -> Timing:
    """Take blocks until their interval is narrow enough, or the schedule is at its end.

    Args:
        take: times the block of that number. Raises NoMoreBlocks when its time is over.
        enough: whether an interval settles the points.
    """
    kept: list[Block] = []
    disturbed: list[Block] = []
    for step in SCHEDULE:
        try:
            _fill(kept, disturbed, step, take)
        except NoMoreBlocks:
            break
        if len(kept) < step or enough(speedup(kept)):
            break
    return Timing(tuple(kept), tuple(disturbed))


def certify(take: Callable[[int], Block]) -> Sequence[Block]:
    """The first step's worth of blocks, disturbed ones too: a certificate shows what is."""
    return [take(number) for number in range(SCHEDULE[0])]


def _fill(
    kept: list[Block], disturbed: list[Block], step: int, take: Callable[[int], Block]
) -> None:
    while len(kept) < step and len(disturbed) <= MAX_DISTURBED:
        block = take(len(kept) + len(disturbed))
        (disturbed if block.disturbed else kept).append(block)
