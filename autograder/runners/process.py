"""At the runner: one fresh process per job, from bytes to bytes.

This is the only function of ours that an engine calls, so nothing but text and bytes crosses it.
The job's process ends with the runner: it holds the other end of a pipe that nobody else has.
"""

import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from autograder.runners.parcel import Fault, Parcel

REQUEST, ANSWER = "request", "answer"
STALE_S = 24 * 3600.0  # what is older was left by a runner that was killed
TOLD_CHARACTERS = 2000  # of what a job's process printed before it failed

log = logging.getLogger(__name__)


def perform(program: str, packed: bytes) -> bytes:
    """Run a job to its end.

    Args:
        program: module and arguments; the job's folder is put behind them.
        packed: the job's parcel.

    Returns:
        The answer's parcel, or a fault's.
    """
    with tempfile.TemporaryDirectory(
        dir=scratch(), prefix="job-", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        Parcel.unpack(packed).write(folder / REQUEST)
        fault = _run(program, folder)
        with suppress(FileNotFoundError):
            return Parcel.read(folder / ANSWER).pack()
        return fault.parcel.pack()


def end_with_the_runner() -> None:
    """In a job's process: from now on it does not outlive the runner."""

    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock this thread would hold when Python ends
            pass
        os._exit(1)  # and with this process all that it started in a sandbox

    threading.Thread(target=wait, daemon=True).start()


def scratch() -> Path:
    """This user's folder for jobs on this machine, closed to others.

    Raises:
        PermissionError: somebody else has made it, or opened it.
    """
    folder = Path(tempfile.gettempdir()) / f"compression-course-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != 0o700:
        raise PermissionError(f"{folder} must be this user's alone (mode 700); remove it")
    for left in folder.iterdir():
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_S:
                shutil.rmtree(left)
    return folder


def _run(program: str, folder: Path) -> Fault:
    """What to say if there is no answer."""
    command = [sys.executable, "-m", *program.split(), str(folder)]
    with (folder / "log").open("w+b") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            process.wait()
        finally:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        said.seek(0)
        told = said.read().decode(errors="replace")[-TOLD_CHARACTERS:].strip()
    if told:
        log.info("a job said: %s", told)
    if process.returncode < 0:
        return Fault(f"The job's process was ended by signal {-process.returncode}.")
    return Fault(f"The job's process ended with exit code {process.returncode}: {told}")
