"""Room 3: run a rebuilt notebook in the sandbox, and keep its process for the hidden tests.

Whatever the process says is feedback, or data that later rooms check. A cell that ends the
process, or its time, is left out and the notebook run again without it, so that one bad cell
does not take the others' points.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from autograder import references, supplies, wire
from autograder.lab import Lab
from autograder.records import Cell, CellRun, Finding, Notebook
from autograder.references import Named
from autograder.sandbox import Sandbox, SandboxUnavailable

MAX_RESTARTS = 3
START_S = 60  # for a worker to import what it needs, on a busy machine


class ProcessGone(Exception):
    """The student's process ended or was ended. The message says why, in words for the student."""


class RaisedByStudent(Exception):
    """A student's function raised. `kind` is the name of the exception's class."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class StudentProcess:
    """The grader's end of a worker: requests with a time limit, replies of bounded size."""

    def __init__(self, lab: Lab, sandbox: Sandbox) -> None:
        self.lab = lab
        reads = supplies.folders(lab)
        self.process = sandbox.worker(reads, lab.limits)
        self.count = 0
        self.gone: str | None = None
        try:
            self._ask({"do": "execute", "source": ""}, b"", START_S)
        except ProcessGone as gone:  # no line of the student's has run: the fault is ours
            places = ", ".join(map(str, reads.values()))
            raise SandboxUnavailable(
                "the sandbox ended before any student code ran; can the lab's data sets be read "
                f"({places}), and is there memory left? {gone}"
            ) from gone

    def execute(self, cell: Cell, seconds: float) -> CellRun:
        start = time.monotonic()
        reply, _ = self._ask({"do": "execute", "source": cell.source}, b"", seconds)
        return CellRun(
            id=cell.id,
            seconds=time.monotonic() - start,
            output=_text(reply, "output")[: self.lab.limits.log_bytes],
            error=_text(reply, "error")[-self.lab.limits.log_bytes :],
        )

    def call(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The student's function `name`, in the student's process, on copies of the arguments.

        Raises:
            RaisedByStudent: the function raised, or answered with something that is not data.
            ProcessGone: the process ended, or took longer than the lab allows for one call.
        """
        tree, blob = wire.encode((args, dict(kwargs)))
        try:
            question = {"on": references.to_tree(Named(name)), "args": tree, "tape": 0}
            return wire.decode(*self.answer(question, blob))
        except wire.WireError as error:
            raise RaisedByStudent("WireError", str(error)) from error

    def answer(self, question: wire.Message, blob: bytes) -> tuple[Any, bytes]:
        """What the process says to a question of a hidden test (proxies.py), not yet decoded.

        Raises:
            RaisedByStudent: what was asked raised.
            ProcessGone: as for `call`.
        """
        reply, value_blob = self._ask({**question, "do": "call"}, blob, self.lab.limits.call_s)
        if "raised" in reply:
            raise RaisedByStudent(_text(reply, "raised")[:100], _text(reply, "message")[:2000])
        return reply.get("value"), value_blob

    def collect(self, file: str) -> bytes | None:
        """A file of the output folder, or None if the notebook wrote none."""
        reply, blob = self._ask({"do": "collect", "file": file}, b"", self.lab.limits.call_s)
        if "raised" in reply:
            raise RaisedByStudent(_text(reply, "raised"), _text(reply, "message"))
        return None if reply.get("missing") is not False else blob

    def end(self) -> None:
        """Kill the process and all that it started: they share a pid namespace that ends here."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            # What is left in the buffer cannot be flushed into a process that is gone.
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def _ask(
        self, message: wire.Message, blob: bytes, seconds: float
    ) -> tuple[wire.Message, bytes]:
        if self.gone is not None:
            raise ProcessGone(self.gone)
        self.count += 1
        deadline = time.monotonic() + seconds
        timer = threading.Timer(max(0.0, seconds), self.process.kill)
        timer.start()
        try:
            return self._exchange({**message, "id": self.count}, blob)
        except (OSError, EOFError, wire.WireError) as error:
            self.end()
            self.gone = _reason(time.monotonic() >= deadline, seconds, error)
            raise ProcessGone(self.gone) from error
        finally:
            timer.cancel()

    def _exchange(self, message: wire.Message, blob: bytes) -> tuple[wire.Message, bytes]:
        assert self.process.stdin is not None and self.process.stdout is not None
        wire.write_frame(self.process.stdin, message, blob)  # type: ignore[arg-type]
        reply, reply_blob = wire.read_frame(self.process.stdout)  # type: ignore[arg-type]
        if reply.get("id") != self.count:
            raise wire.WireError("an answer that belongs to no question")
        return reply, reply_blob


class Run:
    """One notebook's run: what its cells did, and a process that answers for its functions."""

    def __init__(self, notebook: Notebook, lab: Lab, sandbox: Sandbox) -> None:
        self.notebook, self.lab, self.sandbox = notebook, lab, sandbox
        self.left_out: dict[str, str] = {}  # by cell: why the process ended there
        self.revivals = 0
        self.process, self.cells, killer = self._execute()
        while killer is not None and len(self.left_out) < MAX_RESTARTS:
            self.left_out[killer.subject] = killer.message
            self.process, self.cells, killer = self._execute()
        self.last_killer = killer

    @property
    def findings(self) -> tuple[Finding, ...]:
        place = f"{self.notebook.name}, cell"
        found = [
            Finding(f"{place} {cell}", f"{why} The notebook was run again without it.")
            for cell, why in self.left_out.items()
        ]
        if (last := self.last_killer) is not None:
            why = f"{last.message} It was not run again, for cells before it had ended it too."
            found.append(Finding(f"{place} {last.subject}", why))
        return tuple(found)

    def revive(self) -> None:
        """After a call that ended the process: the same cells in a new one, a few times at most."""
        if self.process.gone is not None and self.revivals < MAX_RESTARTS:
            self.revivals += 1
            self.process, _, _ = self._execute()

    def _execute(self) -> tuple[StudentProcess, tuple[CellRun, ...], Finding | None]:
        process = StudentProcess(self.lab, self.sandbox)
        deadline = time.monotonic() + self.lab.limits.wall_clock_s
        return (process, *_execute_all(process, self.notebook, self.left_out, deadline))


@contextmanager
def run(notebook: Notebook, lab: Lab, sandbox: Sandbox) -> Iterator[Run]:
    """Execute all cells, leaving out those that end the process, and yield the living process."""
    running = Run(notebook, lab, sandbox)
    try:
        yield running
    finally:
        running.process.end()


def _execute_all(
    process: StudentProcess, notebook: Notebook, left_out: Mapping[str, str], deadline: float
) -> tuple[tuple[CellRun, ...], Finding | None]:
    done, limits = [], process.lab.limits
    for cell in notebook.cells:
        if cell.id in left_out:
            done.append(CellRun(cell.id, 0.0, "", left_out[cell.id]))
            continue
        try:
            seconds = min(limits.cell_s, deadline - time.monotonic())
            done.append(process.execute(cell, seconds))
        except ProcessGone as gone:
            return tuple(done), Finding(cell.id, str(gone))
    return tuple(done), None


def _reason(expired: bool, seconds: float, error: Exception) -> str:
    if expired:
        return f"The code had not finished when its time limit of {seconds:.0f} s was reached."
    if isinstance(error, wire.WireError):
        return f"The notebook's process sent the grader something that is no answer: {error}."
    return (
        "The code ended the notebook's process: by exit(), by a crash in native code, or by using "
        "more memory than the lab allows."
    )


def _text(reply: wire.Message, key: str) -> str:
    return str(reply.get(key, ""))
