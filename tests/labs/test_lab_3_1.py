"""Lab 3.1 as it is handed out, worked through as a student's Jupyter would."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from autograder import notebook, release, samples
from course_config import LAB_3_1

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "source" / LAB_3_1.folder
RELEASE = ROOT / "release" / LAB_3_1.folder
LAST = LAB_3_1.notebooks[-1]


def _execute(node: nbformat.NotebookNode, folder: Path) -> None:
    environment = {"LABKIT_OUT": str(folder / "submission"), "MPLBACKEND": "agg"}
    previous = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(node, timeout=120, kernel_name="python3", resources=resources).execute()
    finally:
        for name, value in previous.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.mark.parametrize("name", LAB_3_1.notebooks)
def test_a_released_notebook_with_solutions_filled_in_runs_to_its_end(
    name: str, tmp_path: Path
) -> None:
    node = nbformat.read(RELEASE / f"{name}.ipynb", as_version=4)
    solved = {c.id: c.source for c in notebook.read(SOURCE / f"{name}.ipynb")}
    for cell in node.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = solved[cell.id]
    _execute(node, tmp_path)
    handed_in = (tmp_path / "submission" / LAB_3_1.artefact.file).is_file()
    assert handed_in == (name == LAST)


@pytest.mark.parametrize("name", LAB_3_1.notebooks)
def test_the_hidden_tests_hold_in_place(name: str, tmp_path: Path) -> None:
    """An instructor runs the source notebook as it is, hidden tests and all."""
    _execute(nbformat.read(SOURCE / f"{name}.ipynb", as_version=4), tmp_path)


def test_the_release_is_what_the_source_makes() -> None:
    assert release.drift(LAB_3_1, ROOT / "source", ROOT / "release") == []


def test_no_cell_is_longer_than_a_screen() -> None:
    """25 lines of code, as authors are asked; ten more for the docstring and blank lines."""
    for name in LAB_3_1.notebooks:
        for cell in notebook.read(SOURCE / f"{name}.ipynb"):
            if cell.kind == "code":
                assert len(cell.visible.splitlines()) <= 35, f"{name}, {cell.id}"


def test_every_notebook_has_exercises_and_one_reflection() -> None:
    for name in LAB_3_1.notebooks:
        cells = notebook.read(SOURCE / f"{name}.ipynb")
        assert sum(cell.role == "test" for cell in cells) >= 3
        assert [cell.points for cell in cells if cell.role == "reflection"] == [5]


@pytest.mark.parametrize("sample", samples.read_all(ROOT / "samples" / LAB_3_1.folder))
def test_a_sample_replaces_cells_that_exist(sample: samples.Sample, tmp_path: Path) -> None:
    folder = samples.write(sample, SOURCE, RELEASE, tmp_path)
    assert len(list(folder.glob("*.ipynb"))) == len(LAB_3_1.notebooks)
    assert sample.strategy
