"""Source to release: the student's version of a lab, the same bytes every time.

nbgrader's own preprocessors take out solutions and hidden tests; the guard then looks at the
result with other eyes, because one solution that slips into a release is a lab to write anew.
"""

import ast
import filecmp
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbgrader.preprocessors import ClearHiddenTests, ClearOutput, ClearSolutions

from autograder import notebook
from autograder.contracts import undefined_names
from autograder.lab import Lab
from autograder.notebook import NotebookError, SourceCell

PREPROCESSORS = (ClearSolutions, ClearHiddenTests, ClearOutput)
MARKERS = ("BEGIN SOLUTION", "END SOLUTION", "BEGIN HIDDEN TESTS", "END HIDDEN TESTS")
STUDENT_FILES = ("README.md",)
LEAK_CHARACTERS = 32  # a statement this long does not stand in a release by chance


class Leak(Exception):
    """A release would give something away. The message names the file, the cell and the line."""


def release(lab: Lab, source: Path, target: Path) -> list[Path]:
    """Write the student's version of a lab to `target`/LAB, replacing what is there.

    Raises:
        NotebookError: a source notebook is not in normal form, or a hidden test uses a name that
            will not exist when it is graded.
        Leak: the result would hold a marker, a solution, or a hidden test.
    """
    folder = source / lab.folder
    cells = {name: notebook.read(folder / f"{name}.ipynb") for name in lab.notebooks}
    for name, of_notebook in cells.items():
        _check_hidden_tests(name, of_notebook)
    files = {f"{name}.ipynb": student_version(folder / f"{name}.ipynb") for name in lab.notebooks}
    files |= {name: (folder / name).read_text("utf-8") for name in STUDENT_FILES}
    guard(cells, files)
    shutil.rmtree(target / lab.folder, ignore_errors=True)
    (target / lab.folder).mkdir(parents=True)
    for name, text in files.items():
        (target / lab.folder / name).write_text(text, encoding="utf-8")
    return [target / lab.folder / name for name in files]


def drift(lab: Lab, source: Path, target: Path) -> list[str]:
    """The files of the committed release that are not what `release` would write now."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = {path.name: path for path in release(lab, source, Path(scratch))}
        present = {path.name: path for path in (target / lab.folder).glob("*")}
        return sorted(
            name
            for name in fresh.keys() | present.keys()
            if name not in fresh
            or name not in present
            or not filecmp.cmp(fresh[name], present[name], shallow=False)
        )


def guard(cells: dict[str, list[SourceCell]], files: dict[str, str]) -> None:
    """Raises Leak if a file holds a marker, a hidden test's or a solution's statement."""
    secrets = {
        statement
        for of_notebook in cells.values()
        for cell in of_notebook
        for text in _secret_parts(cell)
        for statement in _statements(text)
    }
    for name, text in files.items():
        for marker in MARKERS:
            if marker in text:
                raise Leak(f"{name} still holds the marker {marker!r}")
        if name.endswith(".ipynb"):
            _guard_notebook(name, text, secrets)


def _guard_notebook(name: str, text: str, secrets: set[str]) -> None:
    for cell in nbformat.reads(text, as_version=4).cells:
        if cell.get("outputs") or cell.get("attachments"):
            raise Leak(f"{name}, cell {cell.id} holds outputs or attachments")
        if cell.cell_type != "code":
            continue
        for statement in _statements(cell.source):
            if statement in secrets:
                raise Leak(
                    f"{name}, cell {cell.id} gives away a statement of a solution or hidden test: "
                    f"{statement}"
                )


def student_version(path: Path) -> str:
    """A source notebook as it is released, as JSON in normal form."""
    node = nbformat.read(path, as_version=4)
    for preprocessor in PREPROCESSORS:
        node, _ = preprocessor().preprocess(node, {})
    return notebook.normal_json(node, path.name)


def _check_hidden_tests(name: str, cells: list[SourceCell]) -> None:
    for cell_id, unknown in undefined_names(cells).items():
        raise NotebookError(
            f"{name}, cell {cell_id}: its hidden tests use {', '.join(sorted(unknown))}, which "
            "will not exist when they are graded; import or define it inside of the block"
        )
    for cell in cells:
        if cell.role == "test" and not cell.hidden_tests.strip():
            raise NotebookError(f"{name}, cell {cell.id} gives points but has no hidden tests")


def _secret_parts(cell: SourceCell) -> Iterator[str]:
    if cell.role == "test":
        yield cell.hidden_tests
    if cell.role == "solution":
        inside, lines = False, list[str]()
        for line in cell.source.splitlines():
            if line.strip() in (notebook.BEGIN_SOLUTION, notebook.END_SOLUTION):
                inside = line.strip() == notebook.BEGIN_SOLUTION
            elif inside:
                lines.append(line)
        yield "if True:\n" + "\n".join(f" {line}" for line in lines)


def _statements(text: str) -> Iterator[str]:
    """Simple statements in one spelling, so that layout and comments do not hide a copy."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise Leak(f"a cell is not Python, so it cannot be checked: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Return | ast.Expr | ast.Assert):
            spelled = ast.unparse(node)
            if len(spelled) >= LEAK_CHARACTERS and not _is_docstring(node):
                yield spelled


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
