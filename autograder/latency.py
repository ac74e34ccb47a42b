"""From timed pairs to a speedup that deserves a grade.

The statistic is the median log-ratio of CPU times over interleaved pairs; its interval comes
from a bootstrap that redraws processes first and pairs within them, because the noise lives
between processes. Timing the baseline against itself on the same machine gives a guard band, which
is published with the result (MLPerf calls 2 % materially different); a machine whose guard band is
too wide grades no speed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autograder.records import Interval
from labkit.timing import Pair

PAIRS_PER_PROCESS = 12
SCHEDULE = (5, 10, 20)  # processes in all; fixed beforehand, so that nobody repeats until it fits
CERTIFICATE_PROCESSES = 4
MIN_GUARD_BAND = 0.02
MAX_GUARD_BAND = 0.10  # above it the machine is too noisy to grade speed on
RESAMPLES = 2000


@dataclass(frozen=True)
class NoiseCertificate:
    """What this machine makes of two equal models: the ratio should be 1."""

    ratio: Interval
    guard_band: float  # relative; published beside every speedup of this machine


def certificate(processes: Sequence[Sequence[Pair]]) -> NoiseCertificate:
    """From the baseline timed against itself."""
    ratio = speedup(processes)
    half_width = max(ratio.high - ratio.value, ratio.value - ratio.low)
    return NoiseCertificate(ratio, max(MIN_GUARD_BAND, 2 * half_width, abs(ratio.value - 1)))


def speedup(processes: Sequence[Sequence[Pair]], seed: int = 0) -> Interval:
    """Baseline time over candidate time, on CPU time: above 1, the candidate is faster."""
    logs = np.log([[p.baseline_cpu_ms / p.candidate_cpu_ms for p in pairs] for pairs in processes])
    draws = _redrawn(logs, np.random.default_rng(seed))
    value = float(np.median(logs))
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(math.exp(value), math.exp(min(low, value)), math.exp(max(high, value)))


def wall_speedup(processes: Sequence[Sequence[Pair]]) -> float:
    logs = [math.log(p.baseline_wall_ms / p.candidate_wall_ms) for ps in processes for p in ps]
    return math.exp(float(np.median(logs)))


def _redrawn(logs: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Medians of resamples: processes with replacement, then pairs within each."""
    processes, pairs = logs.shape
    which = generator.integers(processes, size=(RESAMPLES, processes))
    within = generator.integers(pairs, size=(RESAMPLES, processes, pairs))
    return np.median(logs[which[:, :, None], within], axis=(1, 2))
