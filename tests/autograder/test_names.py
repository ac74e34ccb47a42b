"""Which cells an exercise rests on."""

import pytest

from autograder.names import binds, needed, reads
from autograder.notebook import SourceCell


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f(x):\n    return x + y", {"y"}),
        ("def f(x: Tensor) -> Tensor:\n    return x", {"Tensor"}),
        ("def f():\n    y = 1\n    return y", set()),
        ("def f():\n    return lambda z: z + w", {"w"}),
        ("def f():\n    y = 1\n    def g():\n        return y\n    return g", set()),
        ("class A(B):\n    def f(self):\n        return c", {"B", "c"}),
        ("total = [n * step for n in range(3)]", {"n", "step", "range"} - {"n"}),
        ("x.y.z(1)", {"x"}),
        ("@cached\ndef f(): ...", {"cached"}),
    ],
)
def test_what_a_function_reads_of_the_notebook_is_found(text: str, found: set[str]) -> None:
    assert reads(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a, (b, *c) = 1, (2, 3)", {"a", "b", "c"}),
        ("import torch.nn as nn, os.path", {"nn", "os"}),
        ("def f():\n    inner = 1", {"f"}),
        ("class A:\n    field = 1", {"A"}),
        ("def f():\n    global made\n    made = 1", {"f", "made"}),
        ("for i in items:\n    pass", {"i"}),
        ("print(x)", set()),
    ],
)
def test_what_code_gives_to_the_notebook_is_found(text: str, found: set[str]) -> None:
    assert binds(text) == found


def _cells() -> list[SourceCell]:
    texts = {
        "imports": "import torch",
        "data": "rows = torch.ones(3)",
        "scale": "def scale(x):\n    return x * factor()",
        "factor": "def factor():\n    return LEVELS",
        "levels": "LEVELS = 4",
        "plot": "print(scale(rows))",
        "other": "def other(x):\n    return torch.zeros(x)",
    }
    solved = {"scale", "other"}
    cells = [SourceCell(name, "code", text, "solution" if name in solved else None, 0)
             for name, text in texts.items()]  # fmt: skip
    hidden = "### BEGIN HIDDEN TESTS\nassert {}(2)\n### END HIDDEN TESTS"
    tests = [SourceCell(f"test-{n}", "code", hidden.format(n), "test", 1) for n in sorted(solved)]
    return [SourceCell("prose", "markdown", "no ` python", None, 0), *cells, *tests]


def test_an_exercise_rests_on_what_its_functions_call_and_on_no_plot_or_data() -> None:
    cells = _cells()
    by_id = {cell.id: cell for cell in cells}
    assert [c.id for c in needed(cells, [by_id["test-scale"]])] == ["scale", "factor", "levels"]
    assert [c.id for c in needed(cells, [by_id["test-other"]])] == ["imports", "other"]
