"""Visible tests in otter-grader's form, for students who type `otter check`.

Source  otter-grader, "OK-formatted tests": a Python file per question that assigns `test`, whose
        cases are doctests run in the notebook's namespace.
"""

import ast
import pprint
from collections.abc import Mapping, Sequence
from pathlib import Path

from autograder.lab import Lab
from autograder.notebook import SourceCell


def write_checks(lab: Lab, sources: Mapping[str, Sequence[SourceCell]], to: Path) -> list[Path]:
    """One file per visible test, as TO/NOTEBOOK/tests/ID.py. No hidden test is in any."""
    written = []
    for name, cells in sources.items():
        folder = to / name / "tests"
        folder.mkdir(parents=True, exist_ok=True)
        for cell in cells:
            if cell.role == "test":
                path = folder / f"{cell.id.replace('-', '_')}.py"
                path.write_text(check_of(cell), encoding="utf-8")
                written.append(path)
    return written


def check_of(cell: SourceCell) -> str:
    """The file of one test cell."""
    case = {"code": _doctest(cell.visible), "hidden": False, "locked": False}
    suite = {"cases": [case], "scored": True, "setup": "", "teardown": "", "type": "doctest"}
    name = cell.id.replace("-", "_")
    test = {"name": name, "points": cell.points, "suites": [suite]}
    return f"OK_FORMAT = True\n\ntest = {pprint.pformat(test, sort_dicts=False, width=100)}\n"


def _doctest(source: str) -> str:
    """Each statement behind its prompt. An assert prints nothing, so nothing is expected."""
    lines = source.splitlines()
    prompted = []
    for statement in ast.parse(source).body:
        first = min(
            [statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))]
        )
        block = lines[first - 1 : statement.end_lineno]
        prompted += [f">>> {block[0]}", *(f"... {line}" for line in block[1:])]
        if len(block) > 1:
            prompted.append("... ")
    return "\n".join(prompted)
