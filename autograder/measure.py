"""Room 6: what the compressed model really is. Bytes, accuracy on hidden data, speed.

No student code runs here. The models run in the sandbox all the same, for the file is a
student's; labels, clocks and statistics are ours.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch

from autograder import hidden
from autograder.accuracy import accuracy_kept
from autograder.artefact import load
from autograder.lab import Metric, Threshold
from autograder.latency import (
    CERTIFICATE_PROCESSES,
    MAX_GUARD_BAND,
    SCHEDULE,
    NoiseCertificate,
    certificate,
    speedup,
    wall_speedup,
)
from autograder.machine import lacks
from autograder.records import Artefact, Finding, Interval, Measurement
from autograder.ruler import DoesNotRun, Ruler, TooSlow
from labkit import baselines, data, export
from labkit.timing import Pair

SLOW = 5  # times the baseline's time, here and now: beyond it the model is slow, not the machine


@dataclass(frozen=True)
class Baseline:
    """What every artefact of a class run is compared with, measured once."""

    artefact: Artefact
    right: torch.Tensor  # bool, one per hidden example, in the order of `hidden.load`
    noise: NoiseCertificate


def measure_baseline(ruler: Ruler, folder: Path) -> Baseline:
    """The shipped baseline in FP32, measured like any artefact, and the machine's noise."""
    wanted = ruler.wanted
    shown = data.IMAGE_SETS[wanted.dataset]
    takes = export.images(shown.shape, classes=len(shown.classes))  # a perceptron takes rows too
    exported = export.to_onnx(baselines.load(wanted.baseline), folder / "exported.onnx", takes)
    artefact = load(exported.read_bytes(), wanted, folder, ruler.sandbox)
    assert isinstance(artefact, Artefact), artefact
    examples = hidden.load(wanted.dataset, wanted.hidden_count)
    logits = ruler.predict(artefact.path, examples.images)
    twins = [ruler.time(artefact.path, artefact.path) for _ in range(CERTIFICATE_PROCESSES)]
    return Baseline(artefact, logits.argmax(dim=1) == examples.labels, certificate(twins))


def measure(artefact: Artefact | Finding, baseline: Baseline, ruler: Ruler) -> list[Measurement]:
    """One measurement per threshold of the lab, in the lab's order."""
    return [_measured(threshold, artefact, baseline, ruler) for threshold in ruler.lab.thresholds]


def _measured(
    threshold: Threshold, artefact: Artefact | Finding, baseline: Baseline, ruler: Ruler
) -> Measurement:
    if isinstance(artefact, Finding):
        return Measurement(threshold.metric, None, note=artefact.message)
    if lacking := lacks(ruler.machine, threshold.requires):
        note = f"This check could not be made on this machine: {lacking}."
        return Measurement(threshold.metric, None, note=note, grader_fault=True)
    timed = replace(ruler, deadline=time.monotonic() + ruler.lab.limits.measuring_s)
    try:
        return METHODS[threshold.metric](threshold, artefact, baseline, timed)
    except DoesNotRun as error:
        return Measurement(threshold.metric, None, note=f"ONNX Runtime does not run it: {error}")
    except TooSlow as slow:
        return _too_slow(threshold.metric, slow, baseline, ruler)


def _too_slow(metric: Metric, slow: TooSlow, baseline: Baseline, ruler: Ruler) -> Measurement:
    """The model's fault if the baseline does the same, on this machine and now, much faster."""
    start = time.monotonic()
    try:
        CONTROLS[metric](baseline, ruler)
        control = time.monotonic() - start
    except TooSlow:
        control = math.inf
    if slow.seconds >= SLOW * control:
        note = (
            f"The model is too slow to be measured: {slow.seconds:.0f} s were not enough for what "
            f"the baseline does in {control:.1f} s."
        )
        return Measurement(metric, None, note=note)
    note = (
        f"This machine was too busy: {slow.seconds:.0f} s were not enough, and the baseline was "
        "slow too. It will be measured again."
    )
    return Measurement(metric, None, note=note, grader_fault=True)


def _compression_ratio(
    threshold: Threshold, artefact: Artefact, baseline: Baseline, ruler: Ruler
) -> Measurement:
    """Exact: bytes of the canonical FP32 baseline over bytes of the canonical artefact."""
    ratio = baseline.artefact.size_bytes / artefact.size_bytes
    sizes: dict[str, float | int | str] = {
        "baseline_bytes": baseline.artefact.size_bytes,
        "size_bytes": artefact.size_bytes,
    }
    return Measurement("compression_ratio", Interval(ratio, ratio, ratio), details=sizes)


def _accuracy_kept(
    threshold: Threshold, artefact: Artefact, baseline: Baseline, ruler: Ruler
) -> Measurement:
    wanted = ruler.wanted
    examples = hidden.load(wanted.dataset, wanted.hidden_count)
    logits = ruler.predict(artefact.path, examples.images)
    classes = len(data.IMAGE_SETS[wanted.dataset].classes)
    if logits.shape != (len(examples.labels), classes):
        note = (
            f"The model answers {len(examples.labels)} images with shape {tuple(logits.shape)}; "
            f"expected one logit for each of {classes} classes."
        )
        return Measurement("accuracy_kept", None, note=note)
    return accuracy_kept(baseline.right, logits.argmax(dim=1) == examples.labels)


def _speedup(
    threshold: Threshold, artefact: Artefact, baseline: Baseline, ruler: Ruler
) -> Measurement:
    """More processes on a fixed schedule, until both ends of the interval earn the same points."""
    if (guard_band := baseline.noise.guard_band) > MAX_GUARD_BAND:
        note = (
            f"This machine is too noisy now: it timed two equal models {100 * guard_band:.0f} % "
            "apart. Speed will be measured again."
        )
        return Measurement("speedup", None, note=note, grader_fault=True)
    processes = _timed(threshold, artefact, baseline, ruler)
    interval = speedup(processes)
    pairs = [pair for process in processes for pair in process]
    samples = {
        name: [getattr(pair, name) for pair in pairs]
        for name in ("baseline_cpu_ms", "candidate_cpu_ms", "baseline_wall_ms", "candidate_wall_ms")
    }
    details: dict[str, float | int | str] = {
        "baseline_ms": median(samples["baseline_cpu_ms"]),
        "candidate_ms": median(samples["candidate_cpu_ms"]),
        "wall_ratio": wall_speedup(processes),
        "guard_band": guard_band,
        "processes": len(processes),
        "batch": ruler.wanted.timed_batch,
    }
    return Measurement("speedup", interval, details=details, samples=samples)


def _timed(
    threshold: Threshold, artefact: Artefact, baseline: Baseline, ruler: Ruler
) -> list[list[Pair]]:
    """Raises TooSlow if not even the first step of the schedule was done in time."""
    processes: list[list[Pair]] = []
    start = time.monotonic()
    for wanted in SCHEDULE:
        while len(processes) < wanted:
            try:
                processes.append(ruler.time(baseline.artefact.path, artefact.path))
            except TooSlow as slow:
                if len(processes) >= SCHEDULE[0]:
                    return processes
                each = (time.monotonic() - start) / (len(processes) + 1)
                raise TooSlow(each) from slow
        interval = speedup(processes)
        if threshold.resolves(interval.low, interval.high):
            break
    return processes


METHODS: dict[Metric, Callable[[Threshold, Artefact, Baseline, Ruler], Measurement]] = {
    "compression_ratio": _compression_ratio,
    "accuracy_kept": _accuracy_kept,
    "speedup": _speedup,
}


# What the baseline does to tell a slow machine from a slow model.
CONTROLS: dict[Metric, Callable[[Baseline, Ruler], object]] = {
    "accuracy_kept": lambda baseline, ruler: ruler.predict(
        baseline.artefact.path, hidden.load(ruler.wanted.dataset, ruler.wanted.hidden_count).images
    ),
    "speedup": lambda baseline, ruler: ruler.time(baseline.artefact.path, baseline.artefact.path),
}
