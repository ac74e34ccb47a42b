"""A time limit on Python code in the current thread, such as a hidden test that loops too long."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class OutOfTime(BaseException):
    """The time limit was reached. No `except Exception` of the code that is stopped catches it."""


@contextmanager
def within(seconds: float, file: str) -> Iterator[None]:
    """Stop the code in this block when its time is over.

    The clock is read wherever a function is called, and at each line of code that was compiled
    under the name `file`. A single call into native code is not interrupted.

    Raises:
        OutOfTime: in the code that is stopped.
    """
    end = time.monotonic() + seconds

    def watch(frame: FrameType, event: str, argument: object) -> Any:
        if time.monotonic() > end:
            raise OutOfTime
        return watch if frame.f_code.co_filename == file else None

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """No time limit stops the code in this block: half a message would spoil the next one."""
    watch = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(watch)
