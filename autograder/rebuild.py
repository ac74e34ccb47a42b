"""Room 2: our notebook, with the student's solutions put in by cell id.

Given cells and tests are ours, whatever the student's file says of them. Code cells that the
student added stay where they stood: helpers are allowed, and run in the sandbox like a solution.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import nbformat

from autograder.notebook import SourceCell
from autograder.records import Cell, Finding, HandGraded, Notebook, Submission

MAX_CELL_CHARACTERS = 100_000
MAX_CELLS = 500
MAX_NOTEBOOK_BYTES = 16 * 1024**2  # parsed, JSON takes some thirty times its bytes


@dataclass
class Theirs:
    """What the student's file holds, sorted by whether our notebook knows the cell."""

    answers: dict[str, str] = field(default_factory=dict)  # by id
    extras: dict[str, list[str]] = field(default_factory=dict)  # by the id of the known cell before
    findings: list[Finding] = field(default_factory=list)


def rebuild(name: str, source: Sequence[SourceCell], submission: Submission) -> Notebook:
    """The notebook that is run for a submission; what the student's file lacks is a finding."""
    theirs = _read(name, source, submission)
    cells = [Cell(f"added-before-all-{i}", text, of_student=True)
             for i, text in enumerate(theirs.extras.get("", []))]  # fmt: skip
    for cell in source:
        if cell.kind == "code":
            cells.append(_rebuilt(cell, theirs))
        extras = theirs.extras.get(cell.id, [])
        cells += [Cell(f"added-{cell.id}-{i}", t, of_student=True) for i, t in enumerate(extras)]
    by_hand = [
        HandGraded(name, cell.id, cell.points, theirs.answers.get(cell.id, ""))
        for cell in source
        if cell.role == "reflection"
    ]
    return Notebook(name, tuple(cells), tuple(by_hand), tuple(theirs.findings))


def _rebuilt(cell: SourceCell, theirs: Theirs) -> Cell:
    if cell.role == "solution":
        return Cell(cell.id, theirs.answers.get(cell.id, ""), of_student=True)
    return Cell(cell.id, cell.visible, hidden_tests=cell.hidden_tests, points=cell.points)


def _read(name: str, source: Sequence[SourceCell], submission: Submission) -> Theirs:
    file = f"{name}.ipynb"
    if file not in {sealed.path for sealed in submission.files}:
        message = f"{file} is not in the submission, so nothing of it could be graded."
        return Theirs(findings=[Finding(file, message)])
    if (submission.root / file).stat().st_size > MAX_NOTEBOOK_BYTES:
        message = (
            f"{file} has more than {MAX_NOTEBOOK_BYTES} bytes, so it was not read. Clear its "
            "outputs (Edit, Clear Outputs of All Cells), save, and hand it in once more."
        )
        return Theirs(findings=[Finding(file, message)])
    try:
        node = nbformat.reads((submission.root / file).read_text("utf-8"), as_version=4)
        theirs = _sort(name, source, list(node.cells))
    except Exception as error:  # a hostile or damaged file may break any of the steps
        message = (
            f"{file} could not be read as a Jupyter notebook ({type(error).__name__}: "
            f"{str(error)[:200]}), so nothing of it could be graded. Open it in JupyterLab, or "
            "start again from the released notebook, and hand it in once more."
        )
        return Theirs(findings=[Finding(file, message)])
    return theirs


def _sort(
    name: str, source: Sequence[SourceCell], student_cells: list[nbformat.NotebookNode]
) -> Theirs:
    theirs, before = Theirs(), ""
    known = {cell.id: cell for cell in source}
    for cell in student_cells[:MAX_CELLS]:
        text = str(cell.source)[:MAX_CELL_CHARACTERS]
        cell_id = _id(cell)
        if cell_id in theirs.answers:
            theirs.findings.append(_duplicate(name, cell_id))
            if cell.cell_type == "code":  # the second half of a cell that was split
                theirs.extras.setdefault(before, []).append(text)
        elif cell_id in known and cell.cell_type == known[cell_id].kind:
            theirs.answers[cell_id] = text
            before = cell_id
            if _given_but_changed(known[cell_id], text):
                theirs.findings.append(_changed(name, cell_id))
        elif cell.cell_type == "code" and text.strip():
            theirs.extras.setdefault(before, []).append(text)
    theirs.findings += [_absent(name, c) for c in source if c.role and c.id not in theirs.answers]
    return theirs


def _given_but_changed(cell: SourceCell, text: str) -> bool:
    return cell.role is None and cell.kind == "code" and text.strip() != cell.source.strip()


def _changed(name: str, cell_id: str) -> Finding:
    message = (
        "This given cell was changed; the original was run in its place. Put code of your own "
        "into a cell of your own: it is run where it stands."
    )
    return Finding(f"{name}, cell {cell_id}", message)


def _id(cell: nbformat.NotebookNode) -> str:
    """nbgrader's id if there is one: editors keep metadata where they renew cell ids."""
    marks = cell.metadata.get("nbgrader")
    grade_id = marks.get("grade_id") if isinstance(marks, dict) else None
    return str(grade_id or cell.get("id", ""))


def _duplicate(name: str, cell_id: str) -> Finding:
    return Finding(
        f"{name}, cell {cell_id}", "This id stands twice. Both cells were run, in their order."
    )


def _absent(name: str, cell: SourceCell) -> Finding:
    if cell.role == "test":
        message = (
            "This test cell was deleted, renamed or changed to text. That costs nothing: it was "
            "put back from the original, and your functions were tested with it."
        )
    else:
        message = (
            "This cell was deleted, renamed or changed to another type, so the exercise that it "
            f"belongs to counts as not answered. Restore a {cell.kind} cell with this id from the "
            "released notebook and put your answer there. If the answer stands in a cell of your "
            "own, it was run all the same."
        )
    return Finding(f"{name}, cell {cell.id}", message)
