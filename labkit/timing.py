"""How fast a model is against another: randomised interleaved pairs, on this thread's CPU time.

CPU time of the calling thread is exact under a competing load that ruins wall time, as long as
the model runs in that thread; hence one intra-op thread. Wall time is kept beside it. The
minimum of CPU times is never used: single readings come out far too low.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labkit.onnx_session import INPUT, OUTPUT, session

WARM_UP_CALLS = 3
Feed = Mapping[str, NDArray[Any]]  # one batch, by the names of a model's inputs


@dataclass(frozen=True)
class Pair:
    """One call of each model on the same fresh input, in random order."""

    baseline_cpu_ms: float
    candidate_cpu_ms: float
    baseline_wall_ms: float
    candidate_wall_ms: float


@dataclass(frozen=True)
class Speedup:
    """Baseline time over candidate time: above 1, the candidate is faster."""

    ratio: float  # median over pairs, on CPU time
    low: float  # 95 % bootstrap interval of the median
    high: float
    wall_ratio: float


def time_pairs(
    baseline: Path | str, candidate: Path | str, shape: tuple[int, ...], pairs: int, seed: int
) -> list[Pair]:
    """Time two ONNX models of images in this process, each on one thread, on random batches.

    Args:
        shape: of one input batch, such as (16, 3, 32, 32).

    Raises:
        ValueError: an output is not finite, so its time means nothing.
    """
    numbers = np.random.default_rng(seed)
    count = WARM_UP_CALLS + pairs
    batches = [{INPUT: numbers.standard_normal(shape, np.float32)} for _ in range(count)]
    return time_feeds(baseline, candidate, batches, seed)


def time_feeds(
    baseline: Path | str, candidate: Path | str, feeds: Sequence[Feed], seed: int
) -> list[Pair]:
    """Time two ONNX models on given batches, of which the first few warm both up.

    Returns:
        One pair for each batch after the first WARM_UP_CALLS.

    Raises:
        ValueError: an output is not finite, so its time means nothing.
    """
    draw = random.Random(seed)
    sides = {"baseline": _caller(baseline), "candidate": _caller(candidate)}
    for call in sides.values():
        for batch in feeds[:WARM_UP_CALLS]:
            call(batch)
    measured = []
    for batch in feeds[WARM_UP_CALLS:]:
        order = draw.sample(list(sides), 2)
        clocks = {side: _clocked(sides[side], batch) for side in order}
        cpu, wall = zip(clocks["baseline"], clocks["candidate"], strict=True)
        measured.append(Pair(*cpu, *wall))
    return measured


def speedup(pairs: list[Pair], seed: int = 0, resamples: int = 2000) -> Speedup:
    """The median log-ratio of the pairs, with a bootstrap interval over pairs."""
    cpu = np.log([pair.baseline_cpu_ms / pair.candidate_cpu_ms for pair in pairs])
    wall = np.log([pair.baseline_wall_ms / pair.candidate_wall_ms for pair in pairs])
    draws = np.random.default_rng(seed).integers(len(cpu), size=(resamples, len(cpu)))
    low, high = np.percentile(np.median(cpu[draws], axis=1), [2.5, 97.5])
    middle = float(np.median(cpu))
    return Speedup(
        ratio=float(np.exp(middle)),
        low=float(np.exp(min(low, middle))),
        high=float(np.exp(max(high, middle))),
        wall_ratio=float(np.exp(np.median(wall))),
    )


def _caller(path: Path | str) -> Callable[[Feed], None]:
    model = session(path, threads=1)

    def call(batch: Feed) -> None:
        # Reading the output back is part of the timed work: nothing may be left for later.
        if not np.isfinite(model.run([OUTPUT], dict(batch))[0]).all():
            raise ValueError(f"{path} answers with numbers that are not finite")

    return call


def _clocked(call: Callable[[Feed], None], batch: Feed) -> tuple[float, float]:
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    call(batch)
    cpu_ms, wall_ms = (time.thread_time_ns() - cpu) / 1e6, (time.perf_counter_ns() - wall) / 1e6
    return cpu_ms, wall_ms
