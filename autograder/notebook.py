"""Source notebooks: read, held to one normal form, and written as text and back.

The normal form: no outputs, no counts, one kernelspec, each cell with an id of our own and the
nbgrader metadata that its role needs. In text a cell begins with `# %% ID [markdown] role="test"
points=4`; a notebook goes to text and back byte for byte.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jupytext
import nbformat
from nbformat import NotebookNode

Role = Literal["solution", "test", "reflection"]

BEGIN_SOLUTION, END_SOLUTION = "### BEGIN SOLUTION", "### END SOLUTION"
BEGIN_HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
CELL_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
_METADATA = {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}


class NotebookError(Exception):
    """A notebook is not what it should be. The message names the file and the cell."""


@dataclass(frozen=True)
class SourceCell:
    id: str
    kind: Literal["code", "markdown"]
    source: str
    role: Role | None
    points: int

    @property
    def hidden_tests(self) -> str:
        return "\n".join(block for inside, block in _blocks(self.source) if inside)

    @property
    def visible(self) -> str:
        return "\n".join(block for inside, block in _blocks(self.source) if not inside)


def read(path: Path) -> list[SourceCell]:
    """The cells of a source notebook in normal form.

    Raises:
        NotebookError: it is not a notebook, or not in normal form.
    """
    node = _parse(path.read_text(encoding="utf-8"), path.name)
    if normal_json(node, path.name) != path.read_text(encoding="utf-8"):
        raise NotebookError(f"{path} is not in normal form; run `course notebook normalise {path}`")
    return cells(node)


def released(path: Path) -> list[SourceCell]:
    """The cells of a release that a student has worked on, by nbgrader's ids: editors renew others.

    Raises:
        NotebookError: it is not a notebook, or no cell of it is the release's.
    """
    found = []
    for cell in _parse(path.read_text(encoding="utf-8"), path.name).cells:
        role, points = _role(cell)
        marked = cell.metadata.get("nbgrader") or {}
        cell_id = str(marked.get("grade_id") or cell.get("id", ""))
        found.append(SourceCell(cell_id, cell.cell_type, cell.source, role, points))
    if not any(cell.role for cell in found):
        raise NotebookError(f"{path.name} has no cell of a released notebook")
    return found


def cells(node: NotebookNode) -> list[SourceCell]:
    found = []
    for cell in node.cells:
        role, points = _role(cell)
        found.append(SourceCell(cell.id, cell.cell_type, cell.source, role, points))
    return found


def normalise(path: Path) -> None:
    """Rewrite a source notebook in normal form; its ids and roles stay."""
    node = _parse(path.read_text(encoding="utf-8"), path.name)
    path.write_text(normal_json(node, path.name), encoding="utf-8")


def to_text(path: Path) -> str:
    node = _parse(path.read_text(encoding="utf-8"), path.name)
    for cell in node.cells:
        role, points = _role(cell)
        cell.metadata = {"title": cell.id}
        if role:
            cell.metadata["role"] = role
        if points:
            cell.metadata["points"] = points
    node.metadata = {"jupytext": {"notebook_metadata_filter": "-all"}}
    return str(jupytext.writes(node, fmt="py:percent"))


def from_text(text: str, name: str) -> str:
    """The notebook, in normal form as JSON, that a text stands for."""
    node = jupytext.reads(text, fmt="py:percent")
    for cell in node.cells:
        title = cell.metadata.get("title")
        if not title:
            raise NotebookError(f"{name}: a cell has no id; begin it with `# %% some-id`")
        role, points = cell.metadata.get("role"), int(cell.metadata.get("points", 0))
        cell.id = title
        cell.metadata = _nbgrader_metadata(title, role, points)
    return normal_json(node, name)


def normal_json(node: NotebookNode, name: str) -> str:
    """The notebook in normal form, as it is committed and released."""
    return json.dumps(_normalised(node, name), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _parse(text: str, name: str) -> NotebookNode:
    try:
        return nbformat.reads(text, as_version=4)
    except Exception as error:  # nbformat raises its own and json's, depending on the damage
        raise NotebookError(f"{name} is not a notebook: {error}") from error


def _normalised(node: NotebookNode, name: str) -> NotebookNode:
    seen: set[str] = set()
    normal = []
    for cell in node.cells:
        if not CELL_ID.fullmatch(cell.get("id", "")) or cell.id in seen:
            raise NotebookError(
                f"{name}: cell id {cell.get('id')!r} must be unique words joined by hyphens"
            )
        seen.add(cell.id)
        normal.append(_normal_cell(cell))
    return nbformat.from_dict(
        {"nbformat": 4, "nbformat_minor": 5, "metadata": _METADATA, "cells": normal}
    )


def _normal_cell(cell: NotebookNode) -> dict[str, object]:
    role, points = _role(cell)
    normal: dict[str, object] = {
        "id": cell.id,
        "cell_type": cell.cell_type,
        "metadata": _nbgrader_metadata(cell.id, role, points),
        "source": cell.source.rstrip("\n"),
    }
    if cell.cell_type == "code":
        normal |= {"outputs": [], "execution_count": None}
    return normal


def _role(cell: NotebookNode) -> tuple[Role | None, int]:
    marks = cell.metadata.get("nbgrader")
    if not marks:
        return None, 0
    if marks.get("grade") and marks.get("solution"):
        return "reflection", marks.get("points", 0)
    if marks.get("grade"):
        return "test", marks.get("points", 0)
    return "solution", 0


def _nbgrader_metadata(cell_id: str, role: Role | None, points: int) -> dict[str, object]:
    if role is None:
        return {}
    marks: dict[str, object] = {
        "grade": role in ("test", "reflection"),
        "grade_id": cell_id,
        "locked": role == "test",
        "schema_version": 3,
        "solution": role in ("solution", "reflection"),
        "task": False,
    }
    return {"nbgrader": marks | ({"points": points} if points else {})}


def _blocks(source: str) -> Iterator[tuple[bool, str]]:
    """The source cut at the hidden-test markers: (is hidden, lines)."""
    inside, lines = False, list[str]()
    for line in source.splitlines():
        if line.strip() in (BEGIN_HIDDEN, END_HIDDEN):
            yield inside, "\n".join(lines)
            inside, lines = line.strip() == BEGIN_HIDDEN, []
        else:
            lines.append(line)
    yield inside, "\n".join(lines)
