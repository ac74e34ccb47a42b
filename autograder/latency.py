"""From timed blocks to a speedup that deserves a grade.

A block is what one fresh process timed: interleaved pairs, with the same fixed work before and
after them. The blocks are the independent units, for the noise lives between processes. Each says
one number, its median log-ratio of CPU times, and the interval stands between two of these in
order (the sign test's interval: Conover 1999, section 3.2). It holds whatever the noise looks
like, as long as it makes a block too fast as often as too slow; no bootstrap of so few blocks does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from autograder.records import Interval
from labkit.timing import Pair

PAIRS_PER_BLOCK = 12
SCHEDULE = (8, 16, 24)  # blocks in all; fixed beforehand, so that nobody repeats until it fits
# Of passing wrongly at one look at the threshold itself. With three looks it is at most their sum:
# 0.39 % + 0.21 % + 0.33 % for the ranks that this allows, which stays below 1 %.
FALSE_PASS = 0.004
DISTURBED_RATIO = 0.10  # relative: wall and CPU time, or the fixed work before and after, differ
MAX_DISTURBED = 12  # blocks; then the machine is too busy
MIN_GUARD_BAND = 0.02  # MLPerf calls 2 % materially different
MAX_GUARD_BAND = 0.10  # above it the machine is too noisy to grade speed on


@dataclass(frozen=True)
class Block:
    """What one fresh process timed."""

    pairs: tuple[Pair, ...]
    sentinel_ms: tuple[float, float]  # CPU time of the same fixed work, before and after
    core: int = -1  # that the process was held to; -1: it could not be held

    def __post_init__(self) -> None:
        clocks = [value for pair in self.pairs for value in vars(pair).values()]
        if not self.pairs or not all(0 < ms < math.inf for ms in (*clocks, *self.sentinel_ms)):
            raise ValueError(f"a block must hold times above zero, got {self}")

    @property
    def log_ratio(self) -> float:
        return median(math.log(p.baseline_cpu_ms / p.candidate_cpu_ms) for p in self.pairs)

    @property
    def wall_log_ratio(self) -> float:
        return median(math.log(p.baseline_wall_ms / p.candidate_wall_ms) for p in self.pairs)

    @property
    def disturbed(self) -> str:
        """Why this block is not to be used; empty if it is."""
        before, after = self.sentinel_ms
        if abs(math.log(after / before)) > DISTURBED_RATIO:
            return f"the same work took {before:.2f} ms before it and {after:.2f} ms after it"
        if abs(self.wall_log_ratio - self.log_ratio) > DISTURBED_RATIO:
            wall, cpu = math.exp(self.wall_log_ratio), math.exp(self.log_ratio)
            return f"wall time says {wall:.2f}, CPU time {cpu:.2f}: something else ran on its core"
        return ""


@dataclass(frozen=True)
class NoiseCertificate:
    """What this machine makes of two equal models: the ratio should be 1."""

    ratio: Interval
    guard_band: float  # relative; published beside every speedup of this machine
    sentinel_ms: float


def speedup(blocks: Sequence[Block]) -> Interval:
    """Baseline time over candidate time, on CPU time: above 1, the candidate is faster.

    Raises:
        ValueError: there are fewer blocks than the first step of the schedule has.
    """
    if len(blocks) < SCHEDULE[0]:
        raise ValueError(f"{len(blocks)} blocks, at least {SCHEDULE[0]} are needed")
    ordered = sorted(block.log_ratio for block in blocks)
    rank = _rank(len(blocks))
    low, middle, high = ordered[rank - 1], median(ordered), ordered[-rank]
    return Interval(math.exp(middle), math.exp(low), math.exp(high))


def wall_speedup(blocks: Sequence[Block]) -> float:
    return math.exp(median(block.wall_log_ratio for block in blocks))


def certificate(blocks: Sequence[Block]) -> NoiseCertificate:
    """From the baseline timed against itself."""
    ratio = speedup(blocks)
    farthest = max(ratio.high - 1, 1 - ratio.low)
    sentinel_ms = median(block.sentinel_ms[0] for block in blocks)
    return NoiseCertificate(ratio, max(MIN_GUARD_BAND, farthest), sentinel_ms)


def _rank(count: int) -> int:
    """The largest rank whose value lies above the median as rarely as FALSE_PASS says.

    The value of rank k does so if fewer than k of the blocks are below it: a fair coin's chance.
    """
    chance, rank = 0.5**count, 0
    while chance <= FALSE_PASS:
        rank += 1
        chance += math.comb(count, rank) * 0.5**count
    return rank
