"""A graded notebook as nbgrader keeps it: a student's answers, what became of them, our points."""

from collections.abc import Sequence

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbgrader.utils import compute_checksum

from autograder.book.totals import Line, Total
from autograder.notebook import KERNELSPEC, SourceCell
from autograder.records import CellRun, Check, Evidence, Verdict
from autograder.report import text

SCHEMA = 3  # of nbgrader's metadata


def artefact_cell(metric: str) -> str:
    """The grade_id under which a threshold of the artefact is shown, in the last notebook."""
    return f"artefact-{metric.replace('_', '-')}"


def page(
    name: str, sources: Sequence[SourceCell], evidence: Evidence, verdict: Verdict, total: Total
) -> NotebookNode:
    """One notebook of one submission, as it is put into COURSE/autograded."""
    ran = {run.id: run for run in evidence.runs.get(name, ())}
    answers = _answers(name, evidence)
    lines = {line.name: line for line in total.lines}
    cells = [_cell(cell, name, answers, ran, lines) for cell in sources]
    if name == evidence.notebooks[-1].name:
        cells += [_artefact(check, lines) for check in verdict.checks if check.threshold]
    node = new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC})
    nbformat.validate(node)
    return node


def _answers(name: str, evidence: Evidence) -> dict[str, str]:
    (found,) = [each for each in evidence.notebooks if each.name == name]
    answers = {cell.id: cell.source for cell in found.cells}
    return answers | {cell.id: cell.answer for cell in found.by_hand}


def _cell(
    source: SourceCell,
    name: str,
    answers: dict[str, str],
    ran: dict[str, CellRun],
    lines: dict[str, Line],
) -> NotebookNode:
    if source.kind == "markdown":
        answered = answers.get(source.id, "") if source.role == "reflection" else source.source
        cell = new_markdown_cell(answered, id=source.id)
    else:
        given = source.visible if source.role in ("test", None) else ""
        cell = new_code_cell(answers.get(source.id, given), id=source.id)
        cell.outputs = _outputs(ran.get(source.id))
    if source.role == "test":
        cell.outputs += [_said(lines[f"{name}/{source.id}"])]
    if source.role is not None:
        cell.metadata["nbgrader"] = _metadata(source.id, source.points, cell.cell_type, source.role)
        cell.metadata["nbgrader"]["checksum"] = compute_checksum(cell)
    return cell


def _artefact(check: Check, lines: dict[str, Line]) -> NotebookNode:
    grade_id = artefact_cell(check.name)
    cell = new_code_cell(f"# {text.words(check.name)} of the compressed model", id=grade_id)
    cell.outputs = [_said(lines[check.name])]
    cell.metadata["nbgrader"] = _metadata(grade_id, check.of, "code", "test")
    cell.metadata["nbgrader"]["checksum"] = compute_checksum(cell)
    return cell


def _metadata(grade_id: str, points: int, cell_type: str, role: str) -> dict[str, object]:
    found: dict[str, object] = {
        "grade_id": grade_id,
        "grade": role != "solution",
        "solution": role != "test",
        "locked": role == "test",
        "task": False,
        "schema_version": SCHEMA,
        "cell_type": cell_type,
    }
    return found | ({"points": points} if role != "solution" else {})


def _outputs(run: CellRun | None) -> list[NotebookNode]:
    if run is None:
        return []
    printed = text.excerpt(run.output)
    found = [new_output("stream", name="stdout", text=printed)] if printed else []
    if run.error:
        found.append(new_output("stream", name="stderr", text=text.excerpt(run.error)))
    return found


def _said(line: Line) -> NotebookNode:
    """What the grader found, as the output of the test that it is about."""
    worth = "open" if line.points is None else text.points(line.points)
    outcome = line.outcome.value if line.outcome else "by hand"
    words = f"{outcome}, {worth} of {line.of} points"
    note = text.clean(f"{words}: {line.note}" if line.note else words)
    return new_output("stream", name="stdout", text=note + "\n")
