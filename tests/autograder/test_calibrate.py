"""Proposals from measurements, and that the lab's own thresholds stand where they say."""

from dataclasses import replace
from pathlib import Path

import pytest

from autograder import calibrate
from autograder.calibrate import Method, propose
from autograder.lab import OnRunner, Requirement, Threshold
from autograder.machine import here
from autograder.records import Evidence, Finding, Interval, Machine, Measurement, Submission
from autograder.verdict import decide
from course_config import LABS

ROOT = Path(__file__).parents[2]
SPEED = Threshold("speedup", 2.0, 1.0, "x", 10, "for tests")
LOSS = Threshold("delta_nll", 0.05, 0.5, "nats", 10, "for tests")
RECORDS = [(lab, ROOT / "docs/calibration" / f"lab-{lab.number}.json") for lab in LABS]


def _method(naive: bool, *intervals: Interval, metric: str = "speedup") -> Method:
    runs = tuple((Measurement(metric, interval),) for interval in intervals)  # type: ignore[arg-type]
    return Method("x", "", naive, runs)


def test_a_proposal_stands_between_the_worst_reference_and_the_best_naive_method() -> None:
    reference = _method(False, Interval(2.6, 2.5, 2.7), Interval(2.5, 2.4, 2.6))
    naive = _method(True, Interval(1.0, 0.9, 1.1))
    found = propose(SPEED, [reference, naive])
    assert found.none == 1.0
    assert found.full == pytest.approx(2.4 - 0.05 * 1.4, abs=0.005)  # three digits
    assert found.warning == ""


def test_where_less_is_better_the_proposal_is_turned_around() -> None:
    reference = _method(False, Interval(0.02, 0.01, 0.03), metric="delta_nll")
    naive = _method(True, Interval(0.8, 0.7, 0.9), metric="delta_nll")
    found = propose(LOSS, [reference, naive])
    assert 0.03 < found.full < found.none == 0.8


def test_too_few_examples_for_a_threshold_are_said() -> None:
    reference = _method(False, Interval(1.5, 1.3, 1.7))
    assert "more examples" in propose(SPEED, [reference, _method(True, Interval(1, 1, 1))]).warning


def test_a_naive_method_as_good_as_the_reference_is_said() -> None:
    reference = _method(False, Interval(3.0, 2.97, 3.03))
    naive = _method(True, Interval(2.96, 2.95, 2.97))
    assert "tells nothing" in propose(SPEED, [reference, naive]).warning


def test_a_machine_of_another_class_is_held_to_its_own_numbers() -> None:
    slower = OnRunner(Requirement(arch="aarch64"), full=1.4, none=1.0, basis="for tests")
    threshold = replace(SPEED, runners=(slower,))
    intel = Machine("", "x86_64", (), 2, 0, {}, (), ())
    assert here(threshold, intel).full == 2.0
    assert here(threshold, replace(intel, arch="aarch64")).full == 1.4


@pytest.mark.parametrize(("lab", "path"), RECORDS, ids=lambda value: getattr(value, "number", ""))
def test_the_reference_earns_all_points_and_naive_methods_none(lab, path: Path) -> None:  # type: ignore[no-untyped-def]
    """By the record that the thresholds quote, in every one of its runs."""
    found = calibrate.read(path)
    assert found.lab == lab.folder
    for method in found.methods:
        for measured in method.runs:
            submission = Submission("", lab.folder, Path("/"), (), (), "", "")
            one = Evidence(
                submission, (), {}, (), Finding("", ""), measured, found.machine, "", "", ""
            )
            verdict = decide(lab, one)
            assert verdict.points == (0 if method.naive else verdict.of), method.name


@pytest.mark.parametrize(("lab", "path"), RECORDS, ids=lambda value: getattr(value, "number", ""))
def test_no_threshold_asks_for_what_its_measurement_cannot_tell(lab, path: Path) -> None:  # type: ignore[no-untyped-def]
    assert [each.warning for each in calibrate.read(path).proposals if each.warning] == []
