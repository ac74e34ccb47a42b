"""nbgrader's database: what a lab consists of, and what each submission earned."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from nbgrader.api import Comment, Grade, Gradebook, SubmittedNotebook

from autograder.book.totals import Line, Total
from autograder.gradebook.pages import artefact_cell
from autograder.lab import Lab
from autograder.notebook import SourceCell


def register(lab: Lab, sources: Mapping[str, Sequence[SourceCell]], book: Gradebook) -> None:
    """The assignment with its notebooks and cells. Cells that the lab no longer has stay."""
    due = {"duedate": _utc(lab.due)} if lab.due else {}
    book.update_or_create_assignment(lab.folder, **due)
    for name, cells in sources.items():
        book.update_or_create_notebook(name, lab.folder)
        for cell in cells:
            if cell.role in ("test", "reflection"):
                # An answer in words counts as written, whatever kind of cell it stands in.
                written = "markdown" if cell.role == "reflection" else "code"
                shape = {"max_score": cell.points, "cell_type": written}
                book.update_or_create_grade_cell(cell.id, name, lab.folder, **shape)
            if cell.role in ("solution", "reflection"):
                book.update_or_create_solution_cell(cell.id, name, lab.folder)
    for threshold in lab.thresholds:
        shape = {"max_score": threshold.points, "cell_type": "code"}
        cell_id = artefact_cell(threshold.metric)
        book.update_or_create_grade_cell(cell_id, lab.notebooks[-1], lab.folder, **shape)


def write(lab: Lab, total: Total, handed_in_at: str, book: Gradebook) -> None:
    """A submission's points: the grader's as automatic ones, a person's as manual ones."""
    book.update_or_create_student(total.student)
    submission = book.update_or_create_submission(
        lab.folder, total.student, timestamp=_utc(handed_in_at)
    )
    for number, notebook in enumerate(submission.notebooks):
        _complete(notebook, book)
        grades = {grade.cell.name: grade for grade in notebook.grades}
        for line in total.lines:
            if place_of(line, lab)[0] == notebook.name:
                _score(line, grades[place_of(line, lab)[1]])
        # nbgrader adds its notebooks' penalties up: one of them carries the submission's.
        notebook.late_submission_penalty = (total.late_loss or None) if number == 0 else None
    book.db.commit()


def place_of(line: Line, lab: Lab) -> tuple[str, str]:
    """The notebook and grade_id under which a line stands in the gradebook."""
    notebook, slash, cell = line.name.partition("/")
    return (notebook, cell) if slash else (lab.notebooks[-1], artefact_cell(line.name))


def _complete(notebook: SubmittedNotebook, book: Gradebook) -> None:
    """Grades and comments for cells that the lab got after this was first written."""
    known = {grade.cell_id for grade in notebook.grades}
    for cell in notebook.notebook.grade_cells:
        if cell.id not in known:
            book.db.add(Grade(cell_id=cell.id, notebook=notebook))
    known = {comment.cell_id for comment in notebook.comments}
    for cell in notebook.notebook.solution_cells:
        if cell.id not in known:
            book.db.add(Comment(cell_id=cell.id, notebook=notebook))
    book.db.commit()


def _score(line: Line, grade: Grade) -> None:
    if line.source == "person":
        grade.manual_score = line.points
    else:
        grade.auto_score = line.points
    grade.needs_manual_grade = line.points is None


def _utc(moment: str) -> str:
    """As nbgrader keeps times: in UTC, without a zone."""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
