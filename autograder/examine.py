"""Room 4: the hidden tests, in our process, against functions that answer from the student's.

A hidden test is ordinary code that calls the student's functions by name. Here each name that
the student was asked to define is a proxy (proxies.py): arguments go to the student's process as
data, the answer comes back as data and is checked before the test sees it. The test's text, its
inputs until it sends them, and its expected values never leave this process.
"""

import ast
import threading
from collections.abc import Callable
from typing import Any

from autograder.contracts import contracts, imports
from autograder.deadline import OutOfTime, within
from autograder.notebook import SourceCell
from autograder.proxies import Examined
from autograder.records import Exercise
from autograder.run import ProcessGone, Run
from autograder.seeds import drawing_from

MESSAGE_CHARACTERS = 2000  # a test may quote a student's answer, which may be long
# Hidden tests draw from generators that the whole process shares, so one block runs at a time.
# While it waits for a student's function, other notebooks' cells go on in their own processes.
_ONE_AT_A_TIME = threading.Lock()


def examine(
    notebook: str, source: list[SourceCell], running: Run, seed_of: Callable[[str], int]
) -> list[Exercise]:
    """The outcome of every test cell. A call that ends the process costs its own exercise alone.

    Args:
        seed_of: by the id of a test cell, what its random draws begin from (seeds.py).
    """
    errors = {cell.id: cell.error for cell in running.cells}
    done = []
    for cell in source:
        if cell.role == "test":
            running.revive()
            with _ONE_AT_A_TIME, drawing_from(seed_of(cell.id)):
                message = _message(cell, source, running)
            done.append(
                Exercise(
                    notebook=notebook,
                    id=cell.id,
                    points=cell.points,
                    passed=message == "",
                    message=message[:MESSAGE_CHARACTERS],
                    visible_error=_last_line(errors.get(cell.id, "The cell did not run.")),
                )
            )
    return done


def namespace(source: list[SourceCell], answer: Callable[[str], Any]) -> dict[str, Any]:
    """What a hidden block finds: given cells' imports, and `answer(name)` for each student name."""
    names: dict[str, Any] = {"__name__": "hidden_tests"}
    for statement in imports(source):
        exec(compile(ast.Module([statement], []), "<imports>", "exec"), names)
    return names | {name: answer(name) for name in contracts(source).names}


def _message(cell: SourceCell, source: list[SourceCell], running: Run) -> str:
    """Empty if the hidden tests hold, else what the student is told."""
    names = namespace(source, Examined(running.process, contracts(source)).name)
    file, seconds = f"<hidden tests of {cell.id}>", running.lab.limits.exercise_s
    code = compile(cell.hidden_tests, file, "exec")
    try:
        with within(seconds, file):
            message = _what_failed(code, names)
    except OutOfTime:
        return (
            f"The hidden tests of this exercise may take {seconds} s in all, with every call that "
            "they make of your functions, and had not finished by then. Make them faster."
        )
    return running.process.gone or message  # also where the test took the error for another


def _what_failed(code: Any, names: dict[str, Any]) -> str:
    try:
        exec(code, names)
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
    if " raised " in str(error):
        return f"Your function raised an error: {error}"
    return (
        "Your function's answer could not be used: it has another type, shape or dtype than the "
        f"exercise asks for ({type(error).__name__}: {error})"
    )


def _last_line(error: str) -> str:
    lines = error.strip().splitlines()
    return lines[-1] if lines else ""
