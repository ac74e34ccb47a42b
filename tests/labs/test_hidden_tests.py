"""No hidden test of lab 3.1 is content with an empty answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autograder import examine, notebook
from autograder.notebook import SourceCell
from course_config import LAB_3_1

SOURCE = Path(__file__).parents[2] / "source" / LAB_3_1.folder
EMPTY: dict[str, Callable[..., Any]] = {
    "an empty list": lambda *_, **__: [],
    "an empty tuple": lambda *_, **__: (),
    "an empty dict": lambda *_, **__: {},
    "an empty tensor": lambda *_, **__: torch.zeros(0),
    "two empty tensors": lambda *_, **__: (torch.zeros(0), torch.zeros(0)),
    "empty along the first axis": lambda x, *_, **__: torch.zeros(0, *_shape(x)),
    "a pair, empty along the first axis": lambda x, *_, **__: (
        torch.zeros(0, *_shape(x)),
        torch.zeros(0),
    ),
    "nothing": lambda *_, **__: None,
}


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(x.shape) if isinstance(x, torch.Tensor) else ()


def _test_cells() -> list[tuple[str, SourceCell]]:
    read = ((name, notebook.read(SOURCE / f"{name}.ipynb")) for name in LAB_3_1.notebooks)
    return [(name, cell) for name, cells in read for cell in cells if cell.role == "test"]


@pytest.mark.parametrize("answer", EMPTY.values(), ids=EMPTY.keys())
@pytest.mark.parametrize(("name", "cell"), _test_cells())
def test_an_empty_answer_passes_no_hidden_test(
    name: str, cell: SourceCell, answer: Callable[..., Any]
) -> None:
    cells = notebook.read(SOURCE / f"{name}.ipynb")
    names = examine.namespace(cells, lambda _: answer)
    with pytest.raises(Exception):  # noqa: B017 (an answer of a wrong kind fails where it is used)
        exec(cell.hidden_tests, names)
