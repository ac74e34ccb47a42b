"""Room 7: (lab, evidence) -> verdict. Pure: no clock, no disk, no student code.

NOT_GRADED means that we failed, not the student: the machine lacks what a check needs, or the
timing was too noisy to judge. It carries no points, is never zero, and stays open until the run
is repeated.
"""

from dataclasses import replace

from autograder.lab import Lab, Metric, Threshold
from autograder.machine import here
from autograder.records import (
    Check,
    Evidence,
    Exercise,
    Interval,
    Measurement,
    Outcome,
    Verdict,
)


def decide(lab: Lab, evidence: Evidence) -> Verdict:
    """Raises KeyError if a metric that the lab grades was never measured: that is our bug."""
    measured = {measurement.metric: measurement for measurement in evidence.measurements}
    thresholds = [here(threshold, evidence.machine) for threshold in lab.thresholds]
    alone = {t.metric: _check(t, measured[t.metric]) for t in thresholds}
    earned = (_held_to_its_needs(alone[t.metric], t, alone) for t in thresholds)
    exercises = (_exercise(exercise) for exercise in evidence.exercises)
    by_hand = (cell for notebook in evidence.notebooks for cell in notebook.by_hand)
    return Verdict((*exercises, *earned), tuple(by_hand))


def _held_to_its_needs(check: Check, threshold: Threshold, alone: dict[Metric, Check]) -> Check:
    """No points for a metric that means nothing without another: small but useless, and so on."""
    for metric in threshold.needs:
        if check.points and alone[metric].points == 0:
            note = f"Counts only for a model that earns points for {_words(metric)}."
            return replace(check, outcome=Outcome.FAILED, points=0.0, note=note)
    return check


def _exercise(exercise: Exercise) -> Check:
    outcome = Outcome.PASSED if exercise.passed else Outcome.FAILED
    points = float(exercise.points) if exercise.passed else 0.0
    name = f"{exercise.notebook}/{exercise.id}"
    return Check(name, outcome, points, exercise.points, exercise.message)


def _check(threshold: Threshold, measurement: Measurement) -> Check:
    if measurement.grader_fault:
        return _open(threshold, measurement, measurement.note)
    if measurement.value is None:
        return _settled(threshold, measurement, 0.0, measurement.note)
    interval = measurement.value
    # Bytes are exact and the hidden examples fixed: only timing gets narrower by repetition.
    if threshold.metric != "speedup":
        return _settled(threshold, measurement, threshold.points_for(interval.value), "")
    if not threshold.resolves(interval.low, interval.high):
        note = (
            f"Too noisy to judge: the true value may lie anywhere from {interval.low:.2f} to "
            f"{interval.high:.2f} {threshold.unit}. It will be measured again."
        )
        return _open(threshold, measurement, note)
    return _settled(threshold, measurement, *_proved(threshold, interval))


def _proved(threshold: Threshold, interval: Interval) -> tuple[float, str]:
    """Points for the end of the interval that earns less: a lucky measurement passes nothing."""
    points = min(map(threshold.points_for, (interval.low, interval.high)))
    if points == threshold.points_for(interval.value):
        return points, ""
    note = (
        f"Points are for what is proved: at least {interval.low:.2f} {threshold.unit}, of "
        f"{interval.value:.2f} measured."
    )
    return points, note


def _settled(threshold: Threshold, measurement: Measurement, points: float, note: str) -> Check:
    if points == threshold.points:
        outcome = Outcome.PASSED
    else:
        outcome = Outcome.PARTIAL if points > 0 else Outcome.FAILED
    return Check(threshold.metric, outcome, points, threshold.points, note, threshold, measurement)


def _open(threshold: Threshold, measurement: Measurement, note: str) -> Check:
    name, outcome = threshold.metric, Outcome.NOT_GRADED
    return Check(name, outcome, None, threshold.points, note, threshold, measurement)


def _words(metric: str) -> str:
    return metric.replace("_", " ")
