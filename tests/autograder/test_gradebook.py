"""Claims about nbgrader's gradebook: it shows our points, and what people score comes back."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import nbformat
import pytest
import report_samples
from nbgrader.api import Gradebook
from report_samples import HIDDEN, LAB, SETUP, STATIC

from autograder import evidence, regrade
from autograder.book import decisions
from autograder.book.decisions import Decision, now
from autograder.book.standing import standing
from autograder.gradebook.sync import NoGradebook, sync
from autograder.notebook import SourceCell

REFLECTION = f"{STATIC}/reflection"
TEST = "assert visible()\n### BEGIN HIDDEN TESTS\n{}\n### END HIDDEN TESTS"
SOURCES = {
    SETUP: [
        SourceCell("intro", "markdown", "# Setup", None, 0),
        SourceCell("scale", "code", "a solution", "solution", 0),
        SourceCell("scale_test", "code", TEST.format(HIDDEN), "test", 5),
        SourceCell("quantize_test", "code", TEST.format(HIDDEN), "test", 5),
    ],
    STATIC: [
        SourceCell("calibrate_test", "code", TEST.format(HIDDEN), "test", 10),
        SourceCell("reflection", "markdown", "a model answer", "reflection", 10),
    ],
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A class of two: ada is graded, of grace the speed is open."""
    folder = tmp_path / "out"
    for one in (report_samples.not_timed("grace"), report_samples.graded("ada")):
        path = folder / "evidence" / f"{one.evidence.submission.student}.jsonl"
        evidence.write(one.evidence, path)
    regrade.publish(LAB, regrade.regrade(LAB, folder), folder)
    return folder


@pytest.fixture
def course(tmp_path: Path, out: Path) -> Path:
    return sync(LAB, SOURCES, out, tmp_path / "course").course


@pytest.fixture
def book(course: Path) -> Iterator[Gradebook]:
    with closing(Gradebook(f"sqlite:///{course}/gradebook.db")) as opened:
        yield opened


def test_nbgrader_adds_up_to_our_points(out: Path, book: Gradebook) -> None:
    for total in standing(LAB, out).totals:
        submission = book.find_submission(LAB.folder, total.student)
        assert submission.score == pytest.approx(total.points)
        assert submission.max_score == total.of
        assert submission.max_written_score == 10


def test_what_nobody_has_read_and_what_is_open_waits_for_a_person(book: Gradebook) -> None:
    waiting = {
        grade.cell.name
        for student in ("ada", "grace")
        for notebook in book.find_submission(LAB.folder, student).notebooks
        for grade in notebook.grades
        if grade.needs_manual_grade
    }
    assert waiting == {"reflection", "artefact-speedup"}


def test_a_score_from_formgrader_becomes_a_decision_once(
    out: Path, course: Path, book: Gradebook
) -> None:
    book.find_grade("reflection", STATIC, LAB.folder, "ada").manual_score = 7.0
    book.find_grade("artefact-speedup", STATIC, LAB.folder, "grace").manual_score = 12.0
    book.find_comment("reflection", STATIC, LAB.folder, "ada").manual_comment = "well put"
    book.db.commit()
    before = {t.student: t.points for t in standing(LAB, out).totals}
    taken = sync(LAB, SOURCES, out, course).taken
    assert {(d.student, d.kind, d.about, d.points) for d in taken} == {
        ("ada", "hand", REFLECTION, 7.0),
        ("ada", "comment", REFLECTION, None),
        ("grace", "override", "speedup", 12.0),
    }
    after = {t.student: t.points for t in standing(LAB, out).totals}
    assert after["ada"] == pytest.approx(before["ada"] + 7)
    assert after["grace"] == pytest.approx(before["grace"] + 12)
    assert sync(LAB, SOURCES, out, course).taken == ()
    assert len(decisions.read(out)) == 3
    assert "well put" in (out / "ada.html").read_text(encoding="utf-8")


def test_a_score_that_is_changed_in_formgrader_changes_again(
    out: Path, course: Path, book: Gradebook
) -> None:
    for points in (3.0, 5.0):
        book.find_grade("reflection", STATIC, LAB.folder, "ada").manual_score = points
        book.db.commit()
        (taken,) = sync(LAB, SOURCES, out, course).taken
        assert taken.points == points
        book.db.expire_all()


def test_our_decisions_stand_in_formgrader(out: Path, course: Path, book: Gradebook) -> None:
    decisions.add([Decision(now(), "tutor", "ada", "hand", REFLECTION, 9.0, "")], out)
    assert sync(LAB, SOURCES, out, course).taken == ()
    book.db.expire_all()
    grade = book.find_grade("reflection", STATIC, LAB.folder, "ada")
    assert (grade.manual_score, grade.needs_manual_grade) == (9.0, False)


def test_notebooks_show_answers_and_messages_and_no_hidden_test(course: Path) -> None:
    for student in ("ada", "grace"):
        folder = course / "autograded" / student / LAB.folder
        for name in LAB.notebooks:
            text = (folder / f"{name}.ipynb").read_text(encoding="utf-8")
            nbformat.validate(nbformat.reads(text, as_version=4))
            assert "hidden_oracle" not in text and "BEGIN HIDDEN" not in text
            assert "a model answer" not in text and "a solution" not in text
    text = (folder / f"{SETUP}.ipynb").read_text(encoding="utf-8")
    assert "rounds half away from zero" in text


def test_a_cell_that_the_lab_gets_later_is_added_to_submissions_that_stand(
    out: Path, course: Path, book: Gradebook
) -> None:
    more = SourceCell("scale_again", "code", "x", "solution", 0)
    sync(LAB, SOURCES | {SETUP: [*SOURCES[SETUP], more]}, out, course)
    assert book.find_comment("scale_again", SETUP, LAB.folder, "ada").name == "scale_again"


@pytest.mark.parametrize(
    "url",
    ["sqlite:////no/such/folder/g.db", "nonsense", "postgresql+psycopg://nobody@localhost:1/x"],
)
def test_a_database_that_does_not_answer_is_named(url: str, out: Path, tmp_path: Path) -> None:
    with pytest.raises(NoGradebook, match=r"cannot be opened: .* Expected the URL"):
        sync(LAB, SOURCES, out, tmp_path / "other", url)
