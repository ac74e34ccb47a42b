"""What is wrong with a lab's source notebooks before anything runs."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder import notebook
from autograder.contracts import undefined_names
from autograder.lab import Lab
from autograder.notebook import NotebookError, SourceCell

# By role, the markers that a cell holds, in this order.
MARKERS: dict[str, tuple[str, ...]] = {
    "solution": (notebook.BEGIN_SOLUTION, notebook.END_SOLUTION),
    "reflection": (notebook.BEGIN_SOLUTION, notebook.END_SOLUTION),
    "test": (notebook.BEGIN_HIDDEN, notebook.END_HIDDEN),
}
ALL_MARKERS = {marker for pair in MARKERS.values() for marker in pair}

DOUBLED = "its id stands twice in the notebook; answers are found by id, so each must be unique"


@dataclass(frozen=True)
class Fault:
    place: str  # a notebook, or a cell of it
    message: str  # what is wrong, and what would be right


def faults_of(lab: Lab, source: Path) -> list[Fault]:
    """Every fault of the lab's notebooks below the folder `source` that can be seen in them."""
    found = []
    for name in lab.notebooks:
        path = source / lab.folder / f"{name}.ipynb"
        try:
            if doubled := _doubled_ids(path):
                found += [Fault(f"{name}, cell {cell_id}", DOUBLED) for cell_id in doubled]
                continue
            cells = notebook.read(path)
        except (NotebookError, FileNotFoundError) as error:
            found.append(Fault(name, str(error)))
            continue
        by_cell = [(cell, message) for cell in cells for message in _in_cell(cell)]
        found += [Fault(f"{name}, cell {cell.id}", message) for cell, message in by_cell]
        if not by_cell:  # else the hidden blocks are not what they seem
            found += list(_unknown_names(name, cells))
    return found


def _doubled_ids(path: Path) -> list[str]:
    """Read without nbformat, which renames the second of two equal ids."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        ids = Counter(cell.get("id") for cell in cells)
    except (ValueError, LookupError, TypeError, AttributeError):
        return []  # not a notebook: reading it says why
    return [str(cell_id) for cell_id, count in ids.items() if count > 1]


def _in_cell(cell: SourceCell) -> Iterator[str]:
    lines = [line.strip().removeprefix("# ") for line in cell.source.splitlines()]
    markers = [line for line in lines if line in ALL_MARKERS]
    expected = MARKERS.get(cell.role or "", ())
    pairs = max(1, len(markers) // 2)
    if markers != list(expected) * pairs:
        yield f"its markers are {_listed(markers)}; a cell of its role holds {_listed(expected)}"
    elif cell.role == "test" and not cell.hidden_tests.strip():
        yield "it gives points but its hidden tests are empty, so any answer would pass"
    if cell.role in ("test", "reflection") and cell.points <= 0:
        yield f"it is graded and worth {cell.points} points; give it at least 1"
    if cell.kind == "code" and (error := _syntax_error(cell)):
        yield f"it is not Python: {error}"


def _listed(markers: Sequence[str]) -> str:
    return ", ".join(markers) or "none"


def _syntax_error(cell: SourceCell) -> str:
    for text in (cell.hidden_tests, cell.visible):
        try:
            compile(text, cell.id, "exec")
        except SyntaxError as error:
            return str(error)
    return ""


def _unknown_names(name: str, cells: list[SourceCell]) -> Iterator[Fault]:
    for cell_id, unknown in undefined_names(cells).items():
        yield Fault(
            f"{name}, cell {cell_id}",
            f"its hidden tests use {', '.join(sorted(unknown))}, which will not exist when they "
            "are graded; import or define it inside of the block",
        )
