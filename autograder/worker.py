"""The process that student code runs in: executes cells, then answers calls of its functions.

This is the only module that shares a process with student code, so nothing that it reports is
believed: cell outcomes are feedback, and a function's answer is data that the grader checks. It
runs inside the sandbox and speaks frames (wire.py) on the pipes that were its standard input
and output.
"""

import contextlib
import io
import os
import sys
import traceback
from pathlib import Path
from typing import BinaryIO

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from autograder import wire
from autograder.objects import Objects


class QuietShell(InteractiveShell):
    """IPython, magics and all, that leaves the reporting of errors to us."""

    def _showtraceback(self, *_: object) -> None:
        pass


class Worker:
    def __init__(self, requests: BinaryIO, replies: BinaryIO, log_bytes: int) -> None:
        self.requests, self.replies, self.log_bytes = requests, replies, log_bytes
        self.shell = QuietShell.instance()
        self.objects = Objects(self.shell.user_ns)

    def serve(self) -> None:
        """Answer requests one by one until the grader closes the pipe."""
        with contextlib.suppress(EOFError):
            while True:
                request, blob = wire.read_frame(self.requests)
                reply, reply_blob = self.answer(request, blob)
                try:
                    wire.write_frame(self.replies, {**reply, "id": request["id"]}, reply_blob)
                except (wire.WireError, ValueError) as error:  # too large, or not JSON after all
                    refusal = _raised("WireError", str(error)[:2000])
                    wire.write_frame(self.replies, {**refusal, "id": request["id"]})

    def answer(self, request: wire.Message, blob: bytes) -> tuple[wire.Message, bytes]:
        if request["do"] == "execute":
            return self.execute(request["source"]), b""
        if request["do"] == "collect":
            return self.collect(request["file"])
        return self.call(request, blob)

    def execute(self, source: str) -> wire.Message:
        with capture_output(display=False) as captured:
            result = self.shell.run_cell(source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        return {
            "output": captured.stdout[: self.log_bytes],
            "error": "" if error is None else _formatted(error)[-self.log_bytes :],
        }

    def collect(self, file: str) -> tuple[wire.Message, bytes]:
        """A file of the output folder. It travels as data: no path or link of ours is followed."""
        path = Path(os.environ["LABKIT_OUT"]) / file
        if not path.is_file():
            return {"missing": True}, b""
        return {"missing": False}, path.read_bytes()

    def call(self, question: wire.Message, blob: bytes) -> tuple[wire.Message, bytes]:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                value, value_blob = self.objects.answer(question, blob)
        except BaseException as error:  # sys.exit() in a function must not end the worker
            return _raised(type(error).__name__, str(error)[:2000]), b""
        return {"value": value}, value_blob


def _raised(kind: str, message: str) -> wire.Message:
    return {"raised": kind, "message": message}


def _formatted(error: BaseException) -> str:
    """The traceback from the student's cell on, without our own frames and IPython's."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if frame.filename.startswith("<ipython-input")]
    last = "".join(traceback.format_exception_only(error))
    places = [f"line {frame.lineno}, in {frame.name}\n    {frame.line}\n" for frame in theirs]
    return "".join([*places, last]).strip()


def serve(requests: int, replies: int, log_bytes: int) -> None:
    """Serve one notebook on two descriptors, with the standard ones out of its reach."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    Worker(os.fdopen(requests, "rb"), os.fdopen(replies, "wb"), log_bytes).serve()


if __name__ == "__main__":
    # The pipes move away from 0 and 1, so that a cell that reads or prints does not break frames.
    serve(os.dup(0), os.dup(1), int(sys.argv[1]))
