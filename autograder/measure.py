"""Room 6: what the compressed model really is. Bytes, quality on hidden data, speed.

No student code runs here. The models run in the sandbox all the same, for the file is a
student's; labels, clocks and statistics are ours.
"""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch

from autograder import probes, size, speed
from autograder.accuracy import accuracy_kept, delta_nll
from autograder.baseline import Baseline
from autograder.lab import Metric, Threshold
from autograder.machine import here, lacks
from autograder.operations import Operations
from autograder.records import Artefact, Finding, Measurement
from autograder.ruler import DoesNotRun, Ruler, TooSlow
from autograder.timing_lock import exclusive_timing

SLOW = 5  # times the baseline's time, here and now: beyond it the model is slow, not the machine


@dataclass(frozen=True)
class Subject:
    """The model that is measured."""

    artefact: Artefact
    operations: Operations | None  # None: it does not run, which other metrics will say


def measure(artefact: Artefact | Finding, baseline: Baseline, ruler: Ruler) -> list[Measurement]:
    """One measurement per threshold of the lab, in the lab's order."""
    thresholds = [here(threshold, ruler.machine) for threshold in ruler.lab.thresholds]
    if isinstance(artefact, Finding):
        return [Measurement(each.metric, None, note=artefact.message) for each in thresholds]
    subject = Subject(artefact, _operations(artefact, ruler))
    return [_measured(threshold, subject, baseline, ruler) for threshold in thresholds]


def _operations(artefact: Artefact, ruler: Ruler) -> Operations | None:
    try:
        return ruler.count(artefact.runs)
    except (DoesNotRun, TooSlow):
        return None


def _measured(
    threshold: Threshold, subject: Subject, baseline: Baseline, ruler: Ruler
) -> Measurement:
    if lacking := lacks(ruler.machine, threshold.requires):
        note = f"This check could not be made on this machine: {lacking}."
        return Measurement(threshold.metric, None, note=note, grader_fault=True)
    try:
        with _alone_if_timed(threshold.metric):
            timed = replace(ruler, deadline=time.monotonic() + ruler.lab.limits.measuring_s)
            return METHODS[threshold.metric](threshold, subject, baseline, timed)
    except DoesNotRun as error:
        return Measurement(threshold.metric, None, note=f"ONNX Runtime does not run it: {error}")
    except TooSlow as slow:
        return _too_slow(threshold.metric, slow, baseline, ruler)


def _alone_if_timed(metric: Metric) -> AbstractContextManager[None]:
    return exclusive_timing() if metric == "speedup" else nullcontext()


def _too_slow(metric: Metric, slow: TooSlow, baseline: Baseline, ruler: Ruler) -> Measurement:
    """The model's fault if the baseline does the same, on this machine and now, much faster."""
    start = time.monotonic()
    try:
        _control(metric, baseline, ruler)
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


def _control(metric: Metric, baseline: Baseline, ruler: Ruler) -> None:
    """What the baseline does to tell a slow machine from a slow model."""
    model = baseline.artefact.runs
    if metric == "speedup":
        ruler.time(model, model)
    else:
        ruler.predict(model, ruler.examples)


def _compression_ratio(
    threshold: Threshold, subject: Subject, baseline: Baseline, ruler: Ruler
) -> Measurement:
    return size.compression_ratio(subject.artefact, subject.operations, baseline)


def _quality(
    threshold: Threshold, subject: Subject, baseline: Baseline, ruler: Ruler
) -> Measurement:
    """Accuracy or loss on the hidden examples, if the model answers as a model should."""
    examples, model = ruler.examples, subject.artefact.runs
    answers = ruler.predict(model, examples)
    if examples.labels is not None and answers.shape[1] != examples.classes:
        note = (
            f"The model answers {len(examples)} {examples.kind} with shape {tuple(answers.shape)}; "
            f"expected one logit for each of {examples.classes} classes."
        )
        return Measurement(threshold.metric, None, note=note)
    scores = examples.score(answers)
    found = probes.probe(model, scores, answers, (baseline.scores, baseline.shifted), ruler)
    if found.fault:
        return Measurement(threshold.metric, None, note=found.fault)
    measured = _compared(baseline.scores, scores, examples.classes)
    asked: dict[str, float | int | str] = {
        "agrees_alone": found.alone,
        "kept_when_shifted": found.shifted,
    }
    return replace(measured, details=measured.details | asked)


def _compared(baseline: torch.Tensor, candidate: torch.Tensor, classes: int) -> Measurement:
    if candidate.dtype == torch.bool:
        return accuracy_kept(baseline, candidate, classes)
    return delta_nll(baseline, candidate)


def _speedup(
    threshold: Threshold, subject: Subject, baseline: Baseline, ruler: Ruler
) -> Measurement:
    return speed.speedup(threshold, subject.artefact, subject.operations, baseline, ruler)


METHODS: dict[Metric, Callable[[Threshold, Subject, Baseline, Ruler], Measurement]] = {
    "compression_ratio": _compression_ratio,
    "accuracy_kept": _quality,
    "delta_nll": _quality,
    "speedup": _speedup,
}
