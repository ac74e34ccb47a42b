"""The registry of wrong and of unusual solutions, which holds a lab's hidden tests to the truth.

A solution is one Python file under tests/labs/wrong/LAB/: a docstring that says what its author
was thinking, one comment with the claim, and the functions that differ from the instructor's.

    # wrong: 03/test-accumulate              points must be lost there, and nowhere else
    # carries: test-quantized-linear         but also here, where the wrong function is called
    # right: 03                              every exercise of that notebook keeps its points

What the file binds replaces what solution cells bind under the same name; the rest of it, such as
an import or a helper, goes before the first of these.
"""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder import parsing
from autograder.names import binds, needed
from autograder.notebook import SourceCell

CLAIM = re.compile(r"^# *(wrong|right|carries): *(.*?) *$", re.MULTILINE)
FORM = "`# wrong: 01/test-scale` or `# right: 01`, with a notebook's number and a test cell's id"


class RegistryError(Exception):
    """A file of the registry is not what it should be. The message names it and what is wrong."""


@dataclass(frozen=True)
class Solution:
    name: str  # of the file
    why: str  # the docstring
    notebook: str
    loses: tuple[str, ...]  # test cells where points must be lost; empty: it is right
    carries: tuple[str, ...]  # test cells that call what is wrong, and lose theirs for it
    cells: Mapping[str, str]  # solution cells by id, with its functions put in

    @property
    def claim(self) -> str:
        carried = f", carried to {', '.join(self.carries)}" if self.carries else ""
        return f"wrong at {', '.join(self.loses)}{carried}" if self.loses else "right"


def read_all(folder: Path, sources: Mapping[str, Sequence[SourceCell]]) -> list[Solution]:
    """Every solution of a lab, by name.

    Args:
        folder: the lab's registry.
        sources: the cells of its source notebooks, by name.

    Raises:
        FileNotFoundError: there is no registry.
        RegistryError: a file makes no claim, one that cannot be tried, or replaces nothing.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; it holds one .py file per solution")
    return [read(path, sources) for path in sorted(folder.glob("*.py"))]


def read(path: Path, sources: Mapping[str, Sequence[SourceCell]]) -> Solution:
    """One solution. Raises RegistryError."""
    text = path.read_text(encoding="utf-8")
    tree = _parsed(text, path)
    why = ast.get_docstring(tree)
    if not why:
        raise RegistryError(f"{path} has no docstring; say in one line what its author got wrong")
    kind, place, carried = _claim(text, path)
    number, _, tests = place.partition("/")
    notebook = _notebook(number, sources, path)
    cells = _merged(text, tree.body[1:], sources[notebook], path)
    if (kind == "right") == bool(tests) or (kind == "right" and carried):
        raise RegistryError(f"{path} claims {kind}: {place}; a claim is {FORM}")
    loses, carries = _listed(tests), _listed(carried)
    _check_tests([*loses, *carries], sources[notebook], cells, path)
    return Solution(path.stem, why, notebook, loses, carries, cells)


def _parsed(text: str, path: Path) -> ast.Module:
    try:
        return parsing.module(text)
    except SyntaxError as error:
        raise RegistryError(f"{path} is not Python: {error.msg}, line {error.lineno}") from error


def _claim(text: str, path: Path) -> tuple[str, str, str]:
    """(wrong or right, where, what it carries to)."""
    found = CLAIM.findall(text)
    claims = [(kind, place) for kind, place in found if kind != "carries"]
    carried = [place for kind, place in found if kind == "carries"]
    if len(claims) != 1 or len(carried) > 1:
        raise RegistryError(f"{path} makes {len(claims)} claims; it needs one line, {FORM}")
    return *claims[0], "".join(carried)


def _notebook(number: str, sources: Mapping[str, Sequence[SourceCell]], path: Path) -> str:
    for name in sources:
        if number in (name, name.partition("-")[0]):
            return name
    known = ", ".join(name.partition("-")[0] for name in sources)
    raise RegistryError(f"{path} names the notebook {number!r}; there are {known}")


def _listed(tests: str) -> tuple[str, ...]:
    return tuple(test.strip() for test in tests.split(",") if test.strip())


def _merged(
    text: str, body: Sequence[ast.stmt], source: Sequence[SourceCell], path: Path
) -> dict[str, str]:
    """The solution cells that the file's statements replace a part of, by id."""
    by_name = {name: cell for cell in source if cell.role == "solution"
               for name in binds(cell.source)}  # fmt: skip
    cells, helpers = dict[str, str](), list[str]()
    for statement in body:
        part = _segment(text, statement)
        names = binds(part) & by_name.keys()
        for name in sorted(names):
            cell = by_name[name]
            cells[cell.id] = _with(part, name, cells.get(cell.id, cell.source))
        helpers += [] if names else [part]
    if not cells:
        raise RegistryError(
            f"{path} binds nothing that a solution cell binds; it can replace "
            f"{', '.join(sorted(by_name))}"
        )
    first = next(cell.id for cell in source if cell.id in cells)
    cells[first] = "\n\n".join([*helpers, cells[first]])
    return cells


def _with(part: str, name: str, cell: str) -> str:
    """The cell with the statement that binds `name` replaced."""
    statement = next(s for s in parsing.module(cell).body if name in binds(_segment(cell, s)))
    lines = cell.splitlines()
    return "\n".join([*lines[: _first(statement) - 1], part, *lines[statement.end_lineno :]])


def _segment(text: str, statement: ast.stmt) -> str:
    return "\n".join(text.splitlines()[_first(statement) - 1 : statement.end_lineno])


def _first(statement: ast.stmt) -> int:
    """The number of a statement's first line, decorators included."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _check_tests(
    tests: Iterable[str], source: Sequence[SourceCell], cells: Mapping[str, str], path: Path
) -> None:
    known = {cell.id: cell for cell in source if cell.role == "test"}
    for test in tests:
        if test not in known:
            raise RegistryError(
                f"{path} names the test cell {test!r}; its notebook has {', '.join(known)}"
            )
        if not cells.keys() & {cell.id for cell in needed(source, [known[test]])}:
            raise RegistryError(
                f"{path} claims points of {test}, whose hidden tests use nothing of "
                f"{', '.join(cells)}, which it changes"
            )
