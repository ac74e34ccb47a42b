"""A model's speed against the baseline, measured on this machine until it settles the points."""

import math
import time
from collections.abc import Sequence
from statistics import median, quantiles

from autograder import latency, roofline
from autograder.baseline import Baseline
from autograder.lab import Threshold
from autograder.latency import MAX_GUARD_BAND, SCHEDULE, Block, NoiseCertificate
from autograder.operations import Operations
from autograder.records import Artefact, Measurement
from autograder.ruler import Ruler, TooSlow
from autograder.schedule import NoMoreBlocks, Timing, collect

Details = dict[str, float | int | str]
CLOCKS = ("baseline_cpu_ms", "candidate_cpu_ms", "baseline_wall_ms", "candidate_wall_ms")


def speedup(
    threshold: Threshold,
    artefact: Artefact,
    operations: Operations | None,
    baseline: Baseline,
    ruler: Ruler,
) -> Measurement:
    """More blocks on a fixed schedule, until both ends of the interval earn nearly the same.

    Raises:
        DoesNotRun: the model fails in ONNX Runtime.
        TooSlow: not even the first step of the schedule was done in time.
    """
    assert baseline.noise is not None
    if (guard_band := baseline.noise.guard_band) > MAX_GUARD_BAND:
        note = (
            f"This machine is too noisy now: it timed two equal models {100 * guard_band:.0f} % "
            "apart. Speed will be measured again."
        )
        return Measurement("speedup", None, note, grader_fault=True)
    timing = _timed(threshold, artefact, baseline, ruler)
    if len(timing.usable) < SCHEDULE[0]:
        return _disturbed(timing)
    floor_ms = _floor_ms(artefact, operations, ruler)
    details = _details(timing, baseline.noise, ruler) | {"floor_ms": floor_ms}
    samples = _samples(timing.usable)
    if median(samples["candidate_cpu_ms"]) < floor_ms:
        note = (
            f"The model answered in {median(samples['candidate_cpu_ms']):.4f} ms, and no processor "
            f"of this kind can compute it in less than {floor_ms:.4f} ms: this is not believed. "
            "Course staff will look at it."
        )
        return Measurement("speedup", None, note, True, details, samples)
    return Measurement("speedup", latency.speedup(timing.usable), details=details, samples=samples)


def _timed(threshold: Threshold, artefact: Artefact, baseline: Baseline, ruler: Ruler) -> Timing:
    start = time.monotonic()

    def take(number: int) -> Block:
        try:
            return ruler.time(baseline.artefact.runs, artefact.runs, number)
        except TooSlow as slow:
            if number >= SCHEDULE[0]:
                raise NoMoreBlocks from slow
            raise TooSlow((time.monotonic() - start) / (number + 1)) from slow

    return collect(take, lambda interval: threshold.resolves(interval.low, interval.high))


def _disturbed(timing: Timing) -> Measurement:
    note = (
        f"This machine was busy with something else: {len(timing.disturbed)} of "
        f"{len(timing.disturbed) + len(timing.kept)} measurements were disturbed, the last because "
        f"{timing.disturbed[-1].disturbed}. Speed will be measured again."
    )
    samples = _samples([*timing.kept, *timing.disturbed])
    return Measurement("speedup", None, note, grader_fault=True, samples=samples)


def _details(timing: Timing, noise: NoiseCertificate, ruler: Ruler) -> Details:
    pairs = [pair for block in timing.usable for pair in block.pairs]
    mine = [pair.candidate_cpu_ms for pair in pairs]
    theirs = [pair.baseline_cpu_ms for pair in pairs]
    return {
        "baseline_ms": median(theirs),
        "candidate_ms": median(mine),
        "baseline_p90_ms": _p90(theirs),
        "candidate_p90_ms": _p90(mine),
        "wall_ratio": latency.wall_speedup(timing.usable),
        "guard_band": noise.guard_band,
        "equal_models_low": noise.ratio.low,
        "equal_models_high": noise.ratio.high,
        "blocks": len(timing.usable),
        "disturbed_blocks": len(timing.disturbed),
        "held_to_cores": ", ".join(sorted({str(block.core) for block in timing.usable})),
        "sentinel_ms": median(block.sentinel_ms[0] for block in timing.usable),
        "batch": ruler.wanted.timed_batch,
    }


def _samples(blocks: Sequence[Block]) -> dict[str, list[float]]:
    """Raw clocks of every pair, block after block, and what each block says."""
    pairs = [pair for block in blocks for pair in block.pairs]
    clocks = {name: [getattr(pair, name) for pair in pairs] for name in CLOCKS}
    return clocks | {"block_ratios": [math.exp(block.log_ratio) for block in blocks]}


def _p90(values_ms: Sequence[float]) -> float:
    return quantiles(values_ms, n=10)[-1]


def _floor_ms(artefact: Artefact, operations: Operations | None, ruler: Ruler) -> float:
    """Zero where nothing was counted: no floor."""
    if operations is None:
        return 0.0
    weights = sum(line.size_bytes for line in artefact.ledger)
    batch = ruler.wanted.timed_batch
    return roofline.floor_ms(operations.products, weights, batch, ruler.machine.isa)
