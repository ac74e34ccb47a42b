"""Claims about the grade book: decisions of people and the calendar, on top of a verdict."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.book import decisions
from autograder.book.decisions import BrokenLog, Decision
from autograder.book.lateness import Lateness, lateness
from autograder.book.totals import total
from autograder.lab import Extension, Lab, LatePolicy
from autograder.records import Check, HandGraded, Outcome, Verdict

DUE = "2027-03-01T23:59:00+01:00"
LAB = Lab(
    *("0.5", "Mini", "A lab", ("01-a",), ()),
    due=DUE,
    late=LatePolicy(grace_minutes=15, lost_per_day=0.1, most_lost=0.5),
)
CHECKS = (
    Check("01-a/test-half", Outcome.PASSED, 4.0, 4, ""),
    Check("01-a/test-third", Outcome.FAILED, 0.0, 3, "a third of 3 is 1"),
    Check("speedup", Outcome.NOT_GRADED, None, 10, "too noisy"),
)
VERDICT = Verdict(CHECKS, (HandGraded("01-a", "reflection", 5, "an answer"),))


def _decision(kind: decisions.Kind, about: str, points: float | None, **more: str) -> Decision:
    given = {"at": decisions.now(), "by": "ta", "student": "ada", "reason": "because"} | more
    return Decision(kind=kind, about=about, points=points, **given)


def _total(found: Sequence[Decision] = (), late: Lateness | None = None):
    return total("ada", LAB.folder, VERDICT, found, late)


def test_without_decisions_the_total_is_the_verdicts_and_provisional() -> None:
    found = _total()
    assert (found.points, found.of) == (VERDICT.points, VERDICT.of + 5)
    assert (found.open_points, found.unread_points, found.provisional) == (10, 5, True)


def test_points_of_people_settle_what_was_open_and_unread() -> None:
    found = _total(
        [
            _decision("hand", "01-a/reflection", 3.5, reason=""),
            _decision("override", "speedup", 10.0),
        ]
    )
    assert found.points == 4 + 3.5 + 10
    assert not found.provisional
    assert {line.name: line.by for line in found.lines} == {
        "01-a/test-half": "", "01-a/test-third": "", "speedup": "ta", "01-a/reflection": "ta",
    }  # fmt: skip


def test_the_last_decision_counts_and_those_of_others_do_not() -> None:
    found = _total(
        [
            _decision("override", "01-a/test-third", 1.0),
            _decision("override", "01-a/test-third", 2.0),
            _decision("override", "01-a/test-third", 3.0, student="bob"),
        ]
    )
    assert found.points == 4 + 2


def test_a_comment_is_shown_and_changes_no_points() -> None:
    found = _total([_decision("comment", "", None, reason="well argued")])
    assert [comment.text for comment in found.comments] == ["well argued"]
    assert found.points == _total().points


def test_a_verdict_stays_as_it_was_under_an_override() -> None:
    found = _total([_decision("override", "01-a/test-third", 2.0)])
    line = next(line for line in found.lines if line.name == "01-a/test-third")
    assert (line.points, line.outcome) == (2.0, Outcome.FAILED)
    assert VERDICT.points == 4


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        (_decision("override", "01-a/test-fifth", 1.0), "'01-a/test-fifth' of ada"),
        (_decision("override", "01-a/test-third", 3.5), "gave 3.5 points .* worth 3"),
    ],
)
def test_a_decision_that_cannot_be_is_refused(decision: Decision, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        _total([decision])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"points": None}, "override with None points"),
        ({"points": float("nan")}, "0 or more, got nan"),
        ({"points": -1.0}, "0 or more, got -1"),
        ({"reason": " "}, "an? override needs a reason"),
        ({"by": ""}, "needs its author"),
    ],
)
def test_a_decision_that_means_nothing_is_none(change: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(_decision("override", "speedup", 1.0), **change)


def test_what_is_added_is_read_in_its_order(tmp_path: Path) -> None:
    one, two = _decision("comment", "", None), _decision("override", "speedup", 2.0)
    decisions.add([one], tmp_path)
    decisions.add([two, one], tmp_path)
    assert decisions.read(tmp_path) == [one, two, one]
    assert decisions.read(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("line", [0, 1])
def test_an_edited_log_is_found_out_and_nothing_is_added_to_it(tmp_path: Path, line: int) -> None:
    decisions.add([_decision("override", "speedup", float(i)) for i in range(3)], tmp_path)
    path = tmp_path / decisions.FILE
    lines = path.read_text().splitlines()
    document = json.loads(lines[line])
    lines[line] = json.dumps(document | {"points": 9.0})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(BrokenLog, match=f"line {line + 2} does not follow"):
        decisions.read(tmp_path)
    with pytest.raises(BrokenLog):
        decisions.add([_decision("comment", "", None)], tmp_path)
    assert path.read_text().splitlines() == lines


def test_a_torn_line_is_named(tmp_path: Path) -> None:
    decisions.add([_decision("comment", "", None)], tmp_path)
    path = tmp_path / decisions.FILE
    path.write_text(path.read_text()[:-20])
    with pytest.raises(BrokenLog, match="line 1 is no decision"):
        decisions.read(tmp_path)


@pytest.mark.parametrize(
    ("received_at", "days", "share_lost"),
    [
        ("2027-03-01T22:00:00+00:00", 0, 0.0),
        ("2027-03-01T23:14:00+00:00", 0, 0.0),  # 15 minutes late, in another zone
        ("2027-03-01T23:14:01+00:00", 1, 0.1),
        ("2027-03-02T22:59:00+00:00", 1, 0.1),
        ("2027-03-02T22:59:01+00:00", 2, 0.2),
        ("2027-04-01T00:00:00+00:00", 31, 0.5),
    ],
)
def test_days_begin_at_the_deadline_and_grace_only_forgives(
    received_at: str, days: int, share_lost: float
) -> None:
    found = lateness(LAB, "ada", received_at)
    assert found is not None
    assert (found.days, found.share_lost) == (days, pytest.approx(share_lost))


def test_an_extension_is_for_its_student_and_lab_alone() -> None:
    later = "2027-03-09T12:00:00+00:00"
    extension = Extension("ada", "0.5", "2027-03-10T00:00:00+00:00", "ill")
    found = lateness(replace(LAB, extensions=(extension,)), "ada", later)
    assert found is not None
    assert (found.days, found.extension) == (0, "ill")
    for other in (replace(extension, student="bob"), replace(extension, lab="0.6")):
        still = lateness(replace(LAB, extensions=(other,)), "ada", later)
        assert still is not None and still.share_lost == 0.5


def test_without_a_deadline_or_a_receipt_nothing_is_late() -> None:
    assert lateness(replace(LAB, due=""), "ada", "2030-01-01T00:00:00+00:00") is None
    assert lateness(LAB, "ada", "") is None


@given(st.floats(0, 1))
def test_lateness_costs_its_share_of_what_was_earned(share: float) -> None:
    late = Lateness(DUE, DUE, 1, share)
    found = _total([_decision("hand", "01-a/reflection", 5.0)], late)
    assert found.points == pytest.approx(9 * (1 - share))
    assert found.of == 22


@pytest.mark.parametrize("moment", ["2027-03-01T23:59", "tomorrow"])
def test_a_deadline_without_a_zone_is_refused(moment: str) -> None:
    with pytest.raises(ValueError, match="expected a time with its zone"):
        replace(LAB, due=moment)
    with pytest.raises(ValueError, match="the extension of ada"):
        Extension("ada", "0.5", moment, "ill")
