import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minilab
import pytest

from autograder.intake import seal
from autograder.notebook import SourceCell
from autograder.rebuild import rebuild
from autograder.records import Notebook, Submission

Edit = Callable[[list[dict[str, Any]]], object]


@pytest.fixture
def rebuilt(source: Path, cells: list[SourceCell], tmp_path: Path) -> Callable[[Edit], Notebook]:
    """The notebook rebuilt from the instructor's, after an edit of its cells."""

    def make(edit: Edit) -> Notebook:
        path = source / minilab.LAB.folder / f"{minilab.NAME}.ipynb"
        document = json.loads(path.read_text())
        edit(document["cells"])
        folder = tmp_path / "student"
        folder.mkdir()
        (folder / path.name).write_text(json.dumps(document))
        sealed = seal(folder, minilab.LAB, tmp_path / "vault")
        assert isinstance(sealed, Submission)
        return rebuild(minilab.NAME, cells, sealed)

    return make


def _cell(document: list[dict[str, Any]], cell_id: str) -> dict[str, Any]:
    return next(cell for cell in document if cell["id"] == cell_id)


def _source(notebook: Notebook, cell_id: str) -> str:
    return next(cell.source for cell in notebook.cells if cell.id == cell_id)


def test_a_changed_test_cell_is_put_back(rebuilt: Callable[[Edit], Notebook]) -> None:
    notebook = rebuilt(lambda document: _cell(document, "test-double").update(source="pass"))
    assert "the sum of two doubled ones" in _source(notebook, "test-double")


def test_a_deleted_test_cell_is_put_back_and_said(rebuilt: Callable[[Edit], Notebook]) -> None:
    notebook = rebuilt(lambda document: document.remove(_cell(document, "test-double")))
    assert "the sum of two doubled ones" in _source(notebook, "test-double")
    assert "costs nothing" in notebook.findings[0].message


def test_a_deleted_solution_is_not_replaced_by_ours(rebuilt: Callable[[Edit], Notebook]) -> None:
    notebook = rebuilt(lambda document: document.remove(_cell(document, "double")))
    assert _source(notebook, "double") == ""
    assert "not answered" in notebook.findings[0].message


def test_a_renamed_solution_still_runs_as_a_cell_of_the_student(
    rebuilt: Callable[[Edit], Notebook],
) -> None:
    def rename(document: list[dict[str, Any]]) -> None:
        _cell(document, "double").update(id="mine", metadata={})

    notebook = rebuilt(rename)
    added = next(cell for cell in notebook.cells if cell.id.startswith("added"))
    assert "return x * 2" in added.source
    order = [cell.id for cell in notebook.cells]
    assert order.index(added.id) < order.index("test-double")


def test_an_id_that_stands_twice_runs_twice_and_is_said(
    rebuilt: Callable[[Edit], Notebook],
) -> None:
    def duplicate(document: list[dict[str, Any]]) -> None:
        document.append({**_cell(document, "double"), "source": "half = None"})

    notebook = rebuilt(duplicate)
    assert "return x * 2" in _source(notebook, "double")
    assert any(cell.source == "half = None" for cell in notebook.cells)
    assert "twice" in notebook.findings[0].message


@pytest.mark.parametrize("marks", [[], None, 3, {"grade_id": None}])
def test_damaged_metadata_of_one_cell_costs_nothing(
    rebuilt: Callable[[Edit], Notebook], marks: object
) -> None:
    edit = lambda document: _cell(document, "double").update(metadata={"nbgrader": marks})  # noqa: E731
    assert "return x * 2" in _source(rebuilt(edit), "double")


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"cells": 3}', '{"nbformat": 99}'])
def test_a_file_that_is_no_notebook_is_a_finding(
    content: str, cells: list[SourceCell], tmp_path: Path
) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / f"{minilab.NAME}.ipynb").write_text(content)
    sealed = seal(folder, minilab.LAB, tmp_path / "vault")
    assert isinstance(sealed, Submission)
    notebook = rebuild(minilab.NAME, cells, sealed)
    assert "could not be read as a Jupyter notebook" in notebook.findings[0].message
    assert all(cell.source == "" for cell in notebook.cells if cell.of_student)


def test_a_missing_notebook_is_a_finding(cells: list[SourceCell], tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    sealed = seal(tmp_path / "student", minilab.LAB, tmp_path / "vault")
    assert isinstance(sealed, Submission)
    assert "not in the submission" in rebuild(minilab.NAME, cells, sealed).findings[0].message


def test_a_changed_given_cell_is_put_back_and_said(rebuilt: Callable[[Edit], Notebook]) -> None:
    notebook = rebuilt(lambda document: _cell(document, "imports").update(source="import math"))
    assert "import torch" in _source(notebook, "imports")
    assert "original was run" in notebook.findings[0].message


def test_an_untouched_notebook_has_no_findings(rebuilt: Callable[[Edit], Notebook]) -> None:
    assert rebuilt(lambda document: None).findings == ()


def test_no_hidden_test_is_in_what_runs(rebuilt: Callable[[Edit], Notebook]) -> None:
    notebook = rebuilt(lambda document: None)
    assert not any("does not hold for a matrix" in cell.source for cell in notebook.cells)
