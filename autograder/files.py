"""Files of a class run: written whole or not at all, by one grader at a time."""

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"
_PARTIAL = ".{}.partial"  # no student's name begins with a dot, so no student's file is in the way


class AlreadyGrading(Exception):
    """Another grader works on the same output folder. The message names it and the folder."""


def write_whole(text: str, path: Path) -> None:
    """What stands at the path afterwards is all of the text or what stood there before.

    It holds for a process that is killed, and for a machine that loses its power: the content is
    on the disk before its name is, and the name before this returns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(_PARTIAL.format(path.name))
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def secret_at(path: Path, count: int) -> bytes:
    """A secret of so many bytes, for us alone; made on first use, whole or not."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(count))
        with suppress(FileExistsError):  # another process was first
            os.link(partial, path)
        Path(partial).unlink()
    return path.read_bytes()


def sweep(folder: Path) -> None:
    """Remove what a writer that was killed left. Only for who is alone in the folder."""
    for partial in folder.glob(_PARTIAL.format("*")):
        partial.unlink()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder against other graders. The kernel lets go of it when this process ends.

    Raises:
        AlreadyGrading: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise AlreadyGrading(
                f"the grader with process id {file.read() or 'unknown'} is writing to {folder} "
                "now; wait until it is done, or grade into another folder with --out"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
