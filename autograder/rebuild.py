"""Room 2: our notebook, with the student's solutions put in by cell id.

Given cells and tests are ours, whatever the student's file says of them. Code cells that the
student added stay where they stood: helpers are allowed, and run in the sandbox like a solution.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from autograder import notebook_file
from autograder.notebook import SourceCell
from autograder.notebook_file import Contents, NotANotebook, StudentCell
from autograder.records import Cell, Finding, HandGraded, Notebook, SealedFile, Submission
from autograder.shown import capped, shown


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
    return Notebook(name, tuple(cells), tuple(by_hand), capped(theirs.findings, name))


def _rebuilt(cell: SourceCell, theirs: Theirs) -> Cell:
    if cell.role == "solution":
        return Cell(cell.id, theirs.answers.get(cell.id, ""), of_student=True)
    return Cell(cell.id, cell.visible, hidden_tests=cell.hidden_tests, points=cell.points)


def _read(name: str, source: Sequence[SourceCell], submission: Submission) -> Theirs:
    file = f"{name}.ipynb"
    found = _found(file, submission)
    if isinstance(found, Finding):
        return Theirs(findings=[found])
    try:
        theirs = _sort(name, source, notebook_file.read(submission.root / found.path))
    except NotANotebook as problem:
        message = (
            f"{file} {problem}. So nothing of it could be graded: open it in JupyterLab, or start "
            "again from the released notebook, and hand it in once more."
        )
        return Theirs(findings=[Finding(file, shown(message, 1000))])
    if found.path != file:
        message = (
            f"It was read from {shown(found.path)}. Hand it in as {file}, beside the other "
            "notebooks and not below a folder."
        )
        theirs.findings.insert(0, Finding(file, message))
    return theirs


def _found(file: str, submission: Submission) -> SealedFile | Finding:
    """The notebook of that name, wherever it lies: the least deep, if there is only one such."""
    named = [f for f in submission.files if _base(f).casefold() == file.casefold()]
    if not named:
        others = sorted(_base(f) for f in submission.files if _base(f).endswith(".ipynb"))
        held = f"it holds {shown(', '.join(others))}" if others else "it holds no notebook at all"
        message = f"{file} is not in the submission ({held}), so nothing of it could be graded."
        return Finding(file, message)
    least = min(_rank(f, file) for f in named)
    first = [f for f in named if _rank(f, file) == least]
    if len({f.sha256 for f in first}) > 1:
        places = shown(", ".join(f.path for f in first))
        message = (
            f"{file} is in the submission {len(first)} times, with different contents: {places}. "
            "Nobody can know which is meant, so none was graded. Hand in one."
        )
        return Finding(file, message)
    return first[0]


def _rank(sealed: SealedFile, file: str) -> tuple[int, bool]:
    return sealed.path.count("/"), _base(sealed) != file


def _base(sealed: SealedFile) -> str:
    return sealed.path.rpartition("/")[2]


def _sort(name: str, source: Sequence[SourceCell], contents: Contents) -> Theirs:
    theirs, before = Theirs(), ""
    known = {cell.id: cell for cell in source}
    for cell in contents.cells:
        text = _within_length(name, cell, theirs)
        if cell.id in theirs.answers:
            theirs.findings.append(_duplicate(name, cell.id))
            if cell.kind == "code":  # the second half of a cell that was split
                theirs.extras.setdefault(before, []).append(text)
        elif cell.id in known and cell.kind == known[cell.id].kind:
            theirs.answers[cell.id] = text
            before = cell.id
            if _given_but_changed(known[cell.id], text):
                theirs.findings.append(_changed(name, cell.id))
        elif cell.kind == "code" and text.strip():
            theirs.extras.setdefault(before, []).append(text)
    if contents.left_out:
        theirs.findings.append(_left_out(name, contents))
    theirs.findings += [_absent(name, c) for c in source if c.role and c.id not in theirs.answers]
    return theirs


def _within_length(name: str, cell: StudentCell, theirs: Theirs) -> str:
    """Code that was cut would not run as it was written, and so does not run at all."""
    if not cell.too_long:
        return cell.text
    did = "The cell was not run" if cell.kind == "code" else "The rest was cut off"
    message = (
        f"It has {cell.too_long:,} characters; at most {notebook_file.MAX_CELL_CHARACTERS:,}. "
        f"{did}. Keep data in a file of its own, and load it."
    )
    theirs.findings.append(Finding(f"{name}, cell {shown(cell.id, 60)}", message))
    return "" if cell.kind == "code" else cell.text


def _left_out(name: str, contents: Contents) -> Finding:
    read = len(contents.cells)
    message = (
        f"It has {read + contents.left_out:,} cells; the first {read} were read. Merge cells, and "
        "hand it in once more."
    )
    return Finding(name, message)


def _given_but_changed(cell: SourceCell, text: str) -> bool:
    return cell.role is None and cell.kind == "code" and text.strip() != cell.source.strip()


def _changed(name: str, cell_id: str) -> Finding:
    message = (
        "This given cell was changed; the original was run in its place. Put code of your own "
        "into a cell of your own: it is run where it stands."
    )
    return Finding(f"{name}, cell {cell_id}", message)


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
