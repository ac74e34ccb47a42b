"""Room 7: points from measurements. Pure, so everything here is arithmetic."""

from dataclasses import replace
from pathlib import Path

import minilab
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.lab import Metric, Threshold
from autograder.records import (
    Check,
    Evidence,
    Exercise,
    Finding,
    Interval,
    Machine,
    Measurement,
    Outcome,
    Submission,
    Verdict,
)
from autograder.verdict import decide
from course_config import LAB_3_1

LAB = replace(
    minilab.LAB,
    thresholds=(
        Threshold("compression_ratio", 4.0, 2.0, "x", 10, "for tests"),
        Threshold("speedup", 2.0, 1.0, "x", 10, "for tests", needs=("compression_ratio",)),
    ),
)
SUBMISSION = Submission("a", LAB.folder, Path("/"), (), (), "", "2026-01-01T00:00:00+00:00")
MACHINE = Machine("cpu", "x86_64", (), 2, 0, {}, (), ())


def _measured(metric: Metric, value: float, spread: float = 0.0) -> Measurement:
    return Measurement(metric, Interval(value, value - spread, value + spread))


def _decided(*measurements: Measurement, exercises: tuple[Exercise, ...] = ()) -> Verdict:
    evidence = Evidence(
        SUBMISSION, (), {}, exercises, Finding("", ""), measurements, MACHINE, "0", "", ()
    )
    return decide(LAB, evidence)


def _check(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.name == name)


def test_full_at_full_none_at_none_and_linear_between() -> None:
    for ratio, points in ((4.5, 10), (4.0, 10), (3.0, 5), (2.0, 0), (1.0, 0)):
        verdict = _decided(_measured("compression_ratio", ratio), _measured("speedup", 3))
        assert _check(verdict, "compression_ratio").points == points


@given(st.floats(0.1, 100), st.floats(0.1, 100))
def test_a_better_value_never_earns_less(one: float, two: float) -> None:
    threshold = LAB.thresholds[0]
    low, high = sorted((one, two))
    assert threshold.points_for(low) <= threshold.points_for(high)


def test_lower_is_better_needs_no_flag() -> None:
    rise = Threshold("speedup", full=0.8, none=2.5, unit="", points=10, basis="for tests")
    assert rise.points_for(0.5) == 10
    assert rise.points_for(3.0) == 0


def test_an_uncompressed_model_earns_nothing_for_its_speed() -> None:
    verdict = _decided(_measured("compression_ratio", 1.0), _measured("speedup", 3))
    assert verdict.points == 0
    assert "compression ratio" in _check(verdict, "speedup").note


def test_noise_that_decides_more_than_a_tenth_of_the_points_is_not_graded() -> None:
    verdict = _decided(_measured("compression_ratio", 4.0), _measured("speedup", 1.5, 0.1))
    check = _check(verdict, "speedup")
    assert check.outcome is Outcome.NOT_GRADED
    assert check.points is None
    assert verdict.open == (check,)
    assert verdict.points == 10


def test_noise_beyond_the_threshold_changes_nothing() -> None:
    verdict = _decided(_measured("compression_ratio", 4.0), _measured("speedup", 3.0, 0.9))
    assert _check(verdict, "speedup").outcome is Outcome.PASSED


def test_a_fault_of_ours_is_not_graded_and_a_fault_of_theirs_is_zero() -> None:
    ours = Measurement("speedup", None, "no VNNI here", grader_fault=True)
    theirs = Measurement("compression_ratio", None, "no artefact")
    verdict = _decided(theirs, ours)
    assert _check(verdict, "speedup").outcome is Outcome.NOT_GRADED
    assert _check(verdict, "compression_ratio").outcome is Outcome.FAILED


def test_a_metric_that_was_never_measured_is_our_bug() -> None:
    with pytest.raises(KeyError):
        _decided(_measured("compression_ratio", 4.0))


def test_exercises_are_all_or_nothing() -> None:
    exercises = (Exercise("n", "a", 4, True), Exercise("n", "b", 3, False, "wrong"))
    verdict = _decided(
        _measured("compression_ratio", 1), _measured("speedup", 1), exercises=exercises
    )
    assert (verdict.points, verdict.of) == (4, 27)


def test_records_refuse_what_contradicts_itself() -> None:
    with pytest.raises(ValueError, match="contradict"):
        Check("x", Outcome.NOT_GRADED, 3.0, 5, "")
    with pytest.raises(ValueError, match="finite"):
        Interval(float("nan"), 0, 1)
    with pytest.raises(ValueError, match="fault"):
        Measurement("speedup", Interval(1, 1, 1), grader_fault=True)
    with pytest.raises(ValueError, match="note"):
        Measurement("speedup", None)


def test_a_lab_refuses_a_threshold_that_needs_what_is_not_graded() -> None:
    with pytest.raises(ValueError, match="have no threshold"):
        replace(LAB, thresholds=LAB.thresholds[1:])


def test_a_tiny_model_that_knows_nothing_earns_nothing() -> None:
    evidence = Evidence(
        SUBMISSION, (), {}, (), Finding("", ""),
        (
            _measured("compression_ratio", 2000),
            _measured("accuracy_kept", 11),
            _measured("speedup", 80),
        ),
        MACHINE, "0", "", (),
    )  # fmt: skip
    assert decide(LAB_3_1, evidence).points == 0


def test_accuracy_is_settled_however_wide_its_interval() -> None:
    """The hidden examples are fixed: measuring again would find the same."""
    lab = replace(LAB, thresholds=(Threshold("accuracy_kept", 98, 90, "%", 8, "for tests"),))
    evidence = Evidence(
        SUBMISSION, (), {}, (), Finding("", ""), (_measured("accuracy_kept", 94, 1.0),),
        MACHINE, "0", "", (),
    )  # fmt: skip
    assert decide(lab, evidence).points == 4
