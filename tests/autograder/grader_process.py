"""Graders in processes of their own, that a test may kill: forks of a server that has imported."""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import minilab

from autograder import classrun, grade, sandbox
from autograder.notebook import SourceCell
from autograder.notebooks import Ran
from autograder.rebuild import rebuild
from autograder.records import CellRun, Exercise, Submission
from autograder.sandbox import NoSandbox

# What changes a file, or is about to: Python announces each of these to an audit hook.
STEPS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "fcntl.flock"}
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["autograder.classrun", "autograder.artefact", "nbformat"])


@contextlib.contextmanager
def started(target: Callable[..., None], *arguments: Any) -> Iterator[tuple[Any, Connection]]:
    """The process, and the end of a pipe that it says things into; it is gone afterwards."""
    ours, theirs = _server.Pipe()
    process = _server.Process(target=target, args=(*arguments, theirs))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def grade_instantly(course: Path, die_at: int, printed: int, say: Connection) -> None:
    """A class run whose rooms 2 to 4 take no time; all else is as it is.

    Args:
        course: holds source/, in/ and out/.
        die_at: kill this process with SIGKILL at this step of its work with files; 0: never.
        printed: what each submission's cells print, in characters.
    """
    steps = 0

    def watch(event: str, _: tuple[Any, ...]) -> None:
        nonlocal steps
        if event in STEPS:
            steps += 1
            if steps == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def instant(name: str, source: list[SourceCell], submission: Submission, *_: object) -> Ran:
        notebook = rebuild(name, source, submission)
        done = [Exercise(name, c.id, c.points, True) for c in source if c.role == "test"]
        cells = tuple(CellRun(c.id, 0.0, "x" * (printed // 6)) for c in notebook.cells)
        return Ran(notebook, cells, tuple(done), (), None, frozenset())

    grade.work_through = instant
    sys.addaudithook(watch)
    _grade(course, NoSandbox(), lambda what: say.send((what, resident_bytes())))
    say.send(("steps", steps))


def grade_in_the_sandbox(course: Path, say: Connection) -> None:
    _grade(
        course, sandbox.find(allow_unsafe=False), lambda what: say.send((what, resident_bytes()))
    )


def _grade(course: Path, place: sandbox.Sandbox, tell: grade.Tell) -> None:
    out = course / "out"

    def prepare() -> grade.Grader:
        return grade.prepare(minilab.STUB, course / "source", place, out, tell)

    classrun.grade_class(course / "in", minilab.STUB, prepare, out, tell)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that they started, parents first."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text("ascii").split()):
                found += [child, *descendants(child)]
    return found
