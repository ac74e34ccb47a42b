"""Room 4: the hidden tests, in our process, against functions that answer from the student's.

A hidden test is ordinary code that calls the student's functions by name. Here each name that
the student was asked to define is a proxy: arguments go to the student's process as data, the
answer comes back as data and is checked before the test sees it. The test's text, its inputs
until it sends them, and its expected values never leave this process.
"""

import ast
import builtins
from collections.abc import Callable
from functools import partial
from typing import Any

from autograder.notebook import SourceCell
from autograder.records import Exercise
from autograder.run import ProcessGone, RaisedByStudent, Run

# What a hidden test may expect a function to raise; anything else arrives as RuntimeError.
RERAISED: dict[str, type[Exception]] = {
    "ValueError": ValueError,
    "TypeError": TypeError,
    "NotImplementedError": NotImplementedError,
}


def examine(notebook: str, source: list[SourceCell], running: Run) -> list[Exercise]:
    """The outcome of every test cell. A call that ends the process costs its own exercise alone."""
    names = namespace(source, partial(_proxy, running))
    errors = {cell.id: cell.error for cell in running.cells}
    done = []
    for cell in source:
        if cell.role == "test":
            running.revive()
            message = _what_failed(cell, dict(names))
            done.append(
                Exercise(
                    notebook=notebook,
                    id=cell.id,
                    points=cell.points,
                    passed=message == "",
                    message=message,
                    visible_error=_last_line(errors.get(cell.id, "The cell did not run.")),
                )
            )
    return done


def student_names(source: list[SourceCell]) -> set[str]:
    """The functions that the solution cells define at top level."""
    trees = [ast.parse(cell.source) for cell in source if cell.role == "solution"]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def undefined_names(source: list[SourceCell]) -> dict[str, set[str]]:
    """By test cell, the names that its hidden block uses and that will not exist when graded."""
    known = student_names(source) | _imported_names(source) | set(dir(builtins))
    missing = {}
    for cell in source:
        if cell.role == "test":
            tree = ast.parse(cell.hidden_tests)
            if unknown := _free_names(tree) - known:
                missing[cell.id] = unknown
    return missing


def namespace(
    source: list[SourceCell], answer: Callable[[str], Callable[..., Any]]
) -> dict[str, Any]:
    """What a hidden block finds: given cells' imports, and `answer(name)` for each function."""
    names: dict[str, Any] = {"__name__": "hidden_tests"}
    for statement in _imports(source):
        exec(compile(ast.Module([statement], []), "<imports>", "exec"), names)
    return names | {name: answer(name) for name in student_names(source)}


def _proxy(running: Run, name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return running.process.call(name, args, kwargs)
        except RaisedByStudent as raised:
            kind = RERAISED.get(raised.kind, RuntimeError)
            said = str(raised) if kind is not RuntimeError else f"{raised.kind}: {raised}"
            raise kind(f"{name} raised {said}") from raised

    call.__name__ = name
    return call


def _what_failed(cell: SourceCell, namespace: dict[str, Any]) -> str:
    """Empty if the hidden tests hold, else what the student is told."""
    code = compile(cell.hidden_tests, f"<hidden tests of {cell.id}>", "exec")
    try:
        exec(code, namespace)
    except AssertionError as failure:
        return str(failure) or "A hidden test of this exercise does not hold."
    except ProcessGone as gone:
        return str(gone)
    except NotImplementedError:
        return "Not solved yet: the function still raises NotImplementedError."
    except Exception as error:  # an answer of a wrong kind fails wherever the test first uses it
        return _explained(error)
    return ""


def _explained(error: Exception) -> str:
    if isinstance(error, ValueError | TypeError | RuntimeError) and " raised " in str(error):
        return f"Your function raised an error: {error}"
    return (
        "Your function's answer could not be used: it has another type, shape or dtype than the "
        f"exercise asks for ({type(error).__name__}: {error})"
    )


def _imports(source: list[SourceCell]) -> list[ast.stmt]:
    trees = [ast.parse(c.visible) for c in source if c.kind == "code" and c.role != "solution"]
    return [s for tree in trees for s in tree.body if isinstance(s, ast.Import | ast.ImportFrom)]


def _imported_names(source: list[SourceCell]) -> set[str]:
    aliases = [alias for s in _imports(source) for alias in s.names]  # type: ignore[attr-defined]
    return {alias.asname or alias.name.split(".")[0] for alias in aliases}


def _free_names(tree: ast.AST) -> set[str]:
    """Names that are read and never bound anywhere in the block."""
    read, bound = set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add(node.asname or node.name.split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return read - bound


def _last_line(error: str) -> str:
    lines = error.strip().splitlines()
    return lines[-1] if lines else ""
