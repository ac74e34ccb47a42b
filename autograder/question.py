"""One question to one fresh process in the sandbox, from the grader's side (frames.answer_one).

The process has read what a student handed in, so its answer is data to check. It is gone before
the answer is used.
"""

import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from autograder import frames
from autograder.lab import Limits
from autograder.sandbox import Sandbox, SandboxUnavailable

LEAST_S = 1.0  # bubblewrap, killed while it still sets a process up, may leave it running


class NoAnswer(Exception):
    """The process ended, or said something that is no frame."""


class TimeOver(Exception):
    """The time was over before there was an answer: after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s were not enough")
        self.seconds = seconds


def ask(
    sandbox: Sandbox,
    module: str,
    question: tuple[frames.Message, bytes],
    limits: Limits,
    reads: Mapping[str, Path],
    deadline: float = math.inf,
) -> tuple[frames.Message, bytes]:
    """Start a module, and hand its answer on.

    Args:
        limits: of the process; its `wall_clock_s` holds for start and answer together.
        deadline: on time.monotonic; the process is killed then at the latest.

    Raises:
        NoAnswer, TimeOver: as they say.
        SandboxUnavailable: the module did not come as far as to read the question.
    """
    start = time.monotonic()
    end = min(start + limits.wall_clock_s, deadline)
    if end - start < LEAST_S:
        raise TimeOver(0.0)
    process = sandbox.start([module], reads, limits)
    timer = threading.Timer(end - start, process.kill)
    timer.start()
    try:
        assert process.stdin is not None and process.stdout is not None
        _await_ready(module, process.stdout)
        frames.write_frame(process.stdin, *question)  # type: ignore[arg-type]
        return frames.read_frame(process.stdout)  # type: ignore[arg-type]
    except (OSError, EOFError, frames.WireError, SandboxUnavailable) as error:
        if time.monotonic() >= end:
            raise TimeOver(time.monotonic() - start) from error
        if isinstance(error, SandboxUnavailable):
            raise
        raise NoAnswer(str(error)) from error
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def _await_ready(module: str, replies: IO[bytes]) -> None:
    try:
        frames.read_frame(replies)  # type: ignore[arg-type]
    except (EOFError, frames.WireError) as error:
        raise SandboxUnavailable(
            f"{module} did not start in the sandbox, so nothing could be asked ({error})"
        ) from error
