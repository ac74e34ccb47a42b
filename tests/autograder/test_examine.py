"""Room 4: hidden tests in our process, against functions that live in another."""

from pathlib import Path

import minilab
import pytest

from autograder import notebook
from autograder.examine import examine, student_names, undefined_names
from autograder.notebook import SourceCell
from autograder.records import Cell, Exercise, Notebook
from autograder.run import run
from autograder.sandbox import Sandbox

IMPORTS = "import torch"
RIGHT = "def double(x):\n    if x.numel() == 0: raise ValueError('empty')\n    return x * 2"


def _examined(isolated: Sandbox, cells: list[SourceCell], *sources: str) -> dict[str, Exercise]:
    student = tuple(Cell(f"s{i}", text) for i, text in enumerate((IMPORTS, *sources)))
    with run(Notebook(minilab.NAME, student), minilab.LAB, isolated) as alive:
        found = examine(minilab.NAME, cells, alive)
    return {exercise.id: exercise for exercise in found}


def test_a_right_function_passes_and_an_absent_one_fails(
    isolated: Sandbox, cells: list[SourceCell]
) -> None:
    found = _examined(isolated, cells, RIGHT)
    assert found["test-double"].passed
    assert not found["test-count"].passed
    assert "count is not defined" in found["test-count"].message


def test_the_message_of_a_failed_assert_reaches_the_student(
    isolated: Sandbox, cells: list[SourceCell]
) -> None:
    wrong = RIGHT.replace("x * 2", "x * 3")
    assert _examined(isolated, cells, wrong)["test-double"].message == (
        "double does not hold for a matrix"
    )


@pytest.mark.parametrize(
    "attack",
    [
        # a value that is equal to everything (research/grader.md A5)
        "class Evil(float):\n    def __eq__(self, other): return True\n"
        "    def __add__(self, other): return self\n"
        "def double(x):\n    if x.numel() == 0: raise ValueError\n    return Evil()",
        # a patched library (A6)
        "torch.equal = lambda *a: True\ntorch.allclose = lambda *a, **k: True\n"
        "def double(x):\n    if x.numel() == 0: raise ValueError\n    return x",
        # a tensor subclass that overrides comparison
        "class T(torch.Tensor):\n    @classmethod\n    def __torch_function__(cls, *a, **k):\n"
        "        return True\n"
        "def double(x):\n    if x.numel() == 0: raise ValueError\n    return x.as_subclass(T)",
        # the process ends with success (A7)
        "import os\ndef double(x):\n    os._exit(0)",
        # a verdict is printed (A9)
        "def double(x):\n    print('{\"passed\": true}')\n    return x",
    ],
)
def test_an_attack_on_the_comparison_earns_nothing(
    isolated: Sandbox, cells: list[SourceCell], attack: str
) -> None:
    assert not _examined(isolated, cells, attack)["test-double"].passed


def test_one_exercise_that_kills_the_process_is_explained(
    isolated: Sandbox, cells: list[SourceCell]
) -> None:
    found = _examined(isolated, cells, "import os\ndef double(x):\n    os._exit(0)")
    assert "ended the notebook's process" in found["test-double"].message


def test_a_call_that_ends_the_process_costs_its_own_exercise_alone(
    isolated: Sandbox, cells: list[SourceCell]
) -> None:
    count = "def count(text):\n    return {c: text.count(c) for c in text}"
    found = _examined(isolated, cells, "import os\ndef double(x):\n    os._exit(0)", count)
    assert not found["test-double"].passed
    assert found["test-count"].passed


def test_the_students_functions_are_known_from_our_source(cells: list[SourceCell]) -> None:
    assert student_names(cells) == {"double", "count"}


def test_a_hidden_test_that_uses_a_name_of_the_notebook_is_found(tmp_path: Path) -> None:
    text = minilab.TEXT.replace("x = torch.arange(6.0)", "x = images.arange(6.0)")
    path = tmp_path / "x.ipynb"
    path.write_text(notebook.from_text(text, "x"))
    assert undefined_names(notebook.read(path)) == {"test-double": {"images"}}
