"""Claims about the course page, decisions from the command line, and what class pages sort by."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import report_samples
from report_samples import LAB, STATIC
from typer.testing import CliRunner

from autograder import evidence, regrade
from autograder.book import decisions, summary
from autograder.cli import app
from autograder.report.page import table_script
from autograder.report.site import write_site

OTHER = replace(LAB, number="3.2", title="Another lab")
REFLECTION = f"{STATIC}/reflection"


def _graded(lab, folder: Path, *students: str) -> Path:
    for name in students:
        one = report_samples.not_timed(name) if name == "grace" else report_samples.graded(name)
        found = replace(one.evidence, submission=replace(one.evidence.submission, lab=lab.folder))
        evidence.write(found, folder / "evidence" / f"{name}.jsonl")
    regrade.publish(lab, regrade.regrade(lab, folder), folder)
    return folder


@pytest.fixture
def course(tmp_path: Path) -> list[tuple[object, Path]]:
    """Two labs; grace handed in one of them."""
    first = _graded(LAB, tmp_path / "lab-3.1", "ada", "grace")
    return [(LAB, first), (OTHER, _graded(OTHER, tmp_path / "lab-3.2", "ada"))]


def test_the_course_page_links_to_pages_that_are_there(course, tmp_path: Path) -> None:
    page = write_site(course, tmp_path / "site")
    links = re.findall(r'href="([^"#]+)"', page.read_text(encoding="utf-8"))
    assert len(links) == 2 + 3  # two labs, three submissions
    assert all((page.parent / link).is_file() for link in links)


def test_its_totals_are_those_of_the_labs(course, tmp_path: Path) -> None:
    text = write_site(course, tmp_path / "site").read_text(encoding="utf-8")
    ada = sum(row.points for _, out in course for row in summary.read(out) if row.student == "ada")
    values = [float(v) for v in re.findall(r'class="number total" data-value="([^"]+)"', text)]
    assert values[0] == pytest.approx(ada)


def test_who_misses_a_lab_or_has_something_open_can_be_filtered_for(course, tmp_path: Path) -> None:
    text = write_site(course, tmp_path / "site").read_text(encoding="utf-8")
    marks = dict(re.findall(r'<tr data-marks="([^"]*)"><th scope="row">(\w+)', text))
    by_student = {student: found.split() for found, student in marks.items()}
    assert by_student["grace"] == ["open", "unread", "missing"]
    assert by_student["ada"] == ["unread"]


def test_its_only_script_is_the_one_that_its_policy_names(course, tmp_path: Path) -> None:
    text = write_site(course, tmp_path / "site").read_text(encoding="utf-8")
    script = table_script()
    assert text.count("<script") == 1 and f"<script>{script.text}</script>" in text
    assert f"script-src '{script.hash}'" in text
    assert not re.search(r'(src|href)="https?:', text)


def test_a_lab_that_was_not_graded_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="course grade"):
        write_site([(LAB, tmp_path)], tmp_path / "site")


@pytest.fixture
def course_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(app, "LABS", (LAB,))
    return lambda *arguments: CliRunner().invoke(app.app, list(arguments))


def test_a_decision_from_the_command_line_is_logged_and_shown(
    course, course_command, tmp_path: Path
) -> None:
    _, out = course[0]
    place = ["--out", str(out), "--by", "tutor"]
    decide = ["decide", "3.1", "ada"]
    done = course_command(
        *decide, "--about", REFLECTION, "--points", "7", "--reason", "clear", *place
    )
    assert done.exit_code == 0, done.output
    done = course_command(*decide, "--reason", "well done", *place)
    assert done.exit_code == 0, done.output
    assert [(d.kind, d.points, d.by) for d in decisions.read(out)] == [
        ("hand", 7.0, "tutor"),
        ("comment", None, "tutor"),
    ]
    page = (out / "ada.html").read_text(encoding="utf-8")
    assert "clear" in page and "well done" in page
    assert "well done" in (out / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nobody"], "'nobody' has no grade"),
        (["ada", "--about", "no/such"], "'no/such' is not graded"),
        (["ada", "--points", "3"], "--points needs --about"),
        (["ada", "--about", "speedup", "--points", "99"], "worth 20 points; 99 are more"),
        (["ada", "--about", "speedup", "--points", "-1"], "greater than or equal to 0"),
    ],
)
def test_a_decision_that_cannot_be_is_refused_in_words(
    arguments, told, course, course_command
) -> None:
    out = ["--out", str(course[0][1]), "--reason", "because"]
    done = course_command("decide", "3.1", *arguments, *out)
    assert done.exit_code != 0
    assert told in " ".join(done.output.replace("│", " ").split())
    assert decisions.read(course[0][1]) == []
