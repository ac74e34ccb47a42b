"""Room 4: hidden tests in our process, against functions that live in another."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import minilab
import pytest
import torch

from autograder import notebook, seeds
from autograder.contracts import contracts, undefined_names
from autograder.examine import examine
from autograder.notebook import SourceCell
from autograder.records import Cell, Exercise, Notebook
from autograder.run import run
from autograder.sandbox import Sandbox

IMPORTS = "import torch"
RIGHT = "def double(x):\n    if x.numel() == 0: raise ValueError('empty')\n    return x * 2"


def _examined(isolated: Sandbox, cells: list[SourceCell], *sources: str) -> dict[str, Exercise]:
    student = tuple(Cell(f"s{i}", text) for i, text in enumerate((IMPORTS, *sources)))
    with run(Notebook(minilab.NAME, student), minilab.LAB, isolated) as alive:
        found = examine(minilab.NAME, cells, alive, lambda _: 5)
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


EVIL = """
class Evil({base}):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    def __add__(self, other): return self
    def __sub__(self, other): return 0.0
    def __abs__(self): return 0.0
    def __bool__(self): return True
    def sum(self, *a, **k): return 4
    def equal(self, other): return True
    __hash__ = object.__hash__
def double(x):
    if x.numel() == 0: raise ValueError
    return Evil({of})
"""
LIAR = """
class Liar(torch.Tensor):
    @classmethod
    def __torch_function__(cls, *a, **k): return {answer}
def double(x):
    if x.numel() == 0: raise ValueError
    return x.as_subclass(Liar)
"""
WRONG = "def double(x):\n    if x.numel() == 0: raise ValueError\n    return x"


@pytest.mark.parametrize(
    "attack",
    [
        # values that are equal to everything (research/grader.md A5)
        *(EVIL.format(base=base, of=of) for base, of in [
            ("float", ""), ("int", ""), ("str", ""), ("list", ""), ("dict", ""), ("object", ""),
            ("__import__('numpy').float64", "1.0"),
        ]),
        "import numpy as np\nclass A(np.ndarray):\n    def __eq__(self, o): return np.True_\n"
        "def double(x):\n    return np.ones((2, 3)).view(A)",
        # tensor subclasses that answer for every operation
        LIAR.format(answer="True"), LIAR.format(answer="torch.zeros(2, 3)"),
        # patched libraries, ours among them (A6)
        f"torch.equal = torch.allclose = torch.Tensor.equal = lambda *a, **k: True\n{WRONG}",
        "import numpy\nnumpy.allclose = numpy.array_equal = lambda *a, **k: True\n" + WRONG,
        "import autograder.wire_tensors as w\nw.check = lambda t: None\n"
        "def double(x):\n    return x * float('nan')",
        "import autograder.wire as w\nw.encode = lambda *a: ({'tensor': '0'}, b'')\n" + WRONG,
        "import autograder.wire as w\n"
        "w.encode = lambda *a: ({'reference': {'kind': 'Named', 'name': 'double',"
        " 'attribute': 'equal'}}, b'')\n" + WRONG,
        # the process ends with success (A7)
        "import os\ndef double(x):\n    os._exit(0)",
        # a verdict is printed (A9)
        "def double(x):\n    print('{\"passed\": true}')\n    return x",
    ],
)  # fmt: skip
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
    assert contracts(cells).names == {"double", "count"}


def test_a_hidden_test_that_uses_a_name_of_the_notebook_is_found(tmp_path: Path) -> None:
    text = minilab.TEXT.replace("x = torch.arange(6.0)", "x = images.arange(6.0)")
    path = tmp_path / "x.ipynb"
    path.write_text(notebook.from_text(text, "x"))
    assert undefined_names(notebook.read(path)) == {"test-double": {"images"}}


def _block(cell_id: str, hidden: str) -> SourceCell:
    text = f"pass\n{notebook.BEGIN_HIDDEN}\n{hidden}\n{notebook.END_HIDDEN}"
    return SourceCell(cell_id, "code", text, "test", 1)


def _with_tests(cells: list[SourceCell], *hidden: str) -> list[SourceCell]:
    """The given and solution cells of the mini lab, and test cells of our own."""
    kept = [cell for cell in cells if cell.role != "test"]
    return kept + [_block(f"test-{i}", text) for i, text in enumerate(hidden)]


def test_a_test_that_takes_any_error_is_not_passed_by_ending_the_process(
    isolated: Sandbox, cells: list[SourceCell]
) -> None:
    lax = "try:\n    double(torch.ones(0))\nexcept Exception:\n    pass"
    found = _examined(
        isolated, _with_tests(cells, lax), "import os\ndef double(x):\n    os._exit(0)"
    )
    assert "ended the notebook's process" in found["test-0"].message


def test_an_exercise_has_a_time_of_its_own_and_the_next_one_its_own_again(
    isolated: Sandbox, cells: list[SourceCell]
) -> None:
    limits = replace(minilab.LAB.limits, exercise_s=2)
    slow = "import time\ndef double(x):\n    time.sleep(0.3)\n    return x * 2"
    loops = "for _ in range(1000):\n    double(torch.ones(2))"
    endless = "for _ in range(int(double(torch.tensor(2.0**60)))):\n    pass"
    swallowed = f"try:\n    {endless.splitlines()[0]}\n        pass\nexcept Exception:\n    pass"
    tests = _with_tests(cells, loops, endless, swallowed, "assert double(torch.ones(1)) == 2")
    student = tuple(Cell(f"s{i}", text) for i, text in enumerate((IMPORTS, slow)))
    lab = replace(minilab.LAB, limits=limits)
    with run(Notebook(minilab.NAME, student), lab, isolated) as alive:
        found = examine(minilab.NAME, tests, alive, lambda _: 5)
        assert alive.revivals == 0, "a slow exercise must not cost the process"
    assert [exercise.passed for exercise in found] == [False, False, False, True]
    assert "may take 2 s in all" in found[0].message


DRAWS = """
import random
import numpy
from labkit import draws
for x in (torch.rand(3), torch.rand(3, generator=draws.generator())):
    assert torch.equal(double(x), 2 * x)
raise AssertionError([*x.tolist(), torch.rand(1).item(), random.random(), numpy.random.rand()])
"""


def test_draws_come_from_the_seed_whatever_else_is_examined_at_the_same_time(
    isolated: Sandbox, cells: list[SourceCell]
) -> None:
    tests = _with_tests(cells, DRAWS, DRAWS)

    def drawn(secret: bytes) -> list[str]:
        student = tuple(Cell(f"s{i}", text) for i, text in enumerate((IMPORTS, RIGHT)))
        with run(Notebook(minilab.NAME, student), minilab.LAB, isolated) as alive:
            seed_of = partial(seeds.seed_for, secret, "ada", minilab.NAME)
            return [e.message for e in examine(minilab.NAME, tests, alive, seed_of)]

    torch.manual_seed(1)
    alone = drawn(b"one")
    expected = torch.rand(1, generator=torch.Generator().manual_seed(1))
    assert torch.rand(1) == expected, "the global generator is put back"
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(drawn, [b"one", b"two", b"one"]))
    assert together[0] == together[2] == alone
    assert len({*alone, *together[1]}) == 4, "cells and class runs draw different numbers"
    assert all(message.startswith("[0.") for message in alone)


def test_what_a_student_is_told_has_a_bound(isolated: Sandbox, cells: list[SourceCell]) -> None:
    tests = _with_tests(cells, "assert False, count('x' * 10**6)", "count('y')")
    verbose = "def count(text):\n    if text == 'y': raise ValueError('z' * 10**6)\n    return text"
    found = _examined(isolated, tests, verbose)
    assert all(0 < len(exercise.message) <= 2000 for exercise in found.values())


def test_a_class_that_the_student_defines_is_constructed_by_the_hidden_test(
    isolated: Sandbox,
) -> None:
    solution = (
        "class Observer:\n"
        "    def __init__(self):\n        self.high = 0.0\n"
        "    def update(self, x):\n        self.high = max(self.high, x.max().item())\n"
    )
    hidden = (
        "observer = Observer()\nobserver.update(torch.tensor([1.0, 3.0]))\n"
        "assert observer.high == 3, 'the largest value is wrong'"
    )
    ours = [
        SourceCell("imports", "code", IMPORTS, None, 0),
        SourceCell("observer", "code", solution, "solution", 0),
        _block("test-0", hidden),
    ]
    assert _examined(isolated, ours, solution)["test-0"].passed
    wrong = solution.replace("max(self.high, x.max().item())", "x.min().item()")
    assert _examined(isolated, ours, wrong)["test-0"].message == "the largest value is wrong"
    absent = _examined(isolated, ours, "")["test-0"].message
    assert "Observer is not defined in the notebook" in absent
