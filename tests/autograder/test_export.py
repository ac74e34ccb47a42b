"""Claims about exports: the totals as they stand, in the words of each platform."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import report_samples
from report_samples import LAB, STATIC

from autograder import evidence, regrade
from autograder.book import decisions, export
from autograder.book.decisions import Decision, now
from autograder.book.standing import standing
from autograder.book.totals import Total

REFLECTION = f"{STATIC}/reflection"
IDS = {"ada": "111", "grace": "222"}


def _decided(student: str, points: float) -> Decision:
    return Decision(now(), "tutor", student, "hand", REFLECTION, points, "")


@pytest.fixture
def totals(tmp_path: Path) -> tuple[Total, ...]:
    """ada is complete, grace's speed is open."""
    for one in (report_samples.not_timed("grace"), report_samples.graded("ada")):
        path = tmp_path / "evidence" / f"{one.evidence.submission.student}.jsonl"
        evidence.write(one.evidence, path)
    regrade.publish(LAB, regrade.regrade(LAB, tmp_path), tmp_path)
    decisions.add([_decided("ada", 8.0), _decided("grace", 4.0)], tmp_path)
    return standing(LAB, tmp_path).totals


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_standing_is_verdicts_with_decisions(totals: tuple[Total, ...]) -> None:
    ada, grace = totals
    assert ada.points == pytest.approx(report_samples.graded().verdict.points + 8)
    assert not ada.provisional and grace.provisional
    assert grace.open_points == 20


def test_the_table_says_every_point_and_leaves_open_ones_empty(totals: tuple[Total, ...]) -> None:
    ada, grace = _rows(export.plain(LAB, totals, IDS))
    assert (ada["student"], ada["id"], ada["provisional"]) == ("ada", "111", "no")
    assert float(ada[REFLECTION]) == 8.0
    assert (grace["speedup"], grace["provisional"]) == ("", "yes")
    lines = [name for name in ada if name in {line.name for line in totals[0].lines}]
    assert sum(float(ada[name]) for name in lines) == pytest.approx(float(ada["points"]), abs=0.05)


def test_canvas_gets_its_columns_and_what_is_possible(totals: tuple[Total, ...]) -> None:
    text = export.canvas(LAB, totals, IDS)
    assert text.splitlines()[0] == (
        "Student,ID,SIS User ID,SIS Login ID,Section,Lab 3.1: Post-training quantization"
    )
    possible, ada, _ = _rows(text)
    column = "Lab 3.1: Post-training quantization"
    assert (possible["Student"], possible[column]) == ("Points Possible", "90")
    assert (ada["ID"], float(ada[column])) == ("111", pytest.approx(totals[0].points, abs=0.005))


def test_moodle_gets_participants_and_comments(totals: tuple[Total, ...]) -> None:
    said = replace(
        totals[0], comments=(report_samples.comment("", "well done"), *totals[0].comments)
    )
    (ada,) = _rows(export.moodle(LAB, [said], IDS))
    assert ada["Identifier"] == "Participant 111"
    assert ada["Feedback comments"] == "well done"
    assert (float(ada["Grade"]), ada["Maximum grade"]) == (round(totals[0].points, 2), "90")


@pytest.mark.parametrize("write", [export.canvas, export.moodle])
def test_who_has_no_number_there_is_named(write, totals: tuple[Total, ...]) -> None:
    with pytest.raises(export.CannotExport, match="none is known of grace"):
        write(LAB, totals, {"ada": "111"})


def test_json_is_all_of_it(totals: tuple[Total, ...]) -> None:
    ada, grace = json.loads(export.as_json(LAB, totals, IDS))
    assert ada["points"] == totals[0].points
    assert {line["name"]: line["points"] for line in grace["lines"]}["speedup"] is None
    assert [line["by"] for line in ada["lines"] if line["name"] == REFLECTION] == ["tutor"]


@pytest.mark.parametrize("name", ["=cmd|'/c calc'!A1", "+1", "@x", "-2"])
def test_no_name_is_a_formula(name: str, totals: tuple[Total, ...]) -> None:
    (row,) = _rows(export.plain(LAB, [replace(totals[0], student=name)], {name: ""}))
    assert row["student"] == f"'{name}"
