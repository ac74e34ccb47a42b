"""One measurement of speed at a time on a machine, whoever makes it.

Accuracy may be measured beside it, and notebooks may run: CPU time of one thread stands that. Two
timings beside each other would compete for the same cores, and each would disturb the other.
"""

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 60.0  # then it is said what is waited for, and again each time it has doubled
POLL_S = 0.1
MODE = 0o666  # graders of several users share a machine

log = logging.getLogger(__name__)


@contextmanager
def exclusive_timing() -> Iterator[None]:
    """Wait until nobody else on this machine measures speed, and hold them off meanwhile.

    The kernel lets go of the lock when the process that holds it ends, however it ends. It is of
    use among processes that see the same folder for temporary files: graders in containers need
    one in common, or COURSE_TIMING_LOCK.

    Raises:
        OSError: the file cannot be opened, such as a link that somebody has put in its place.
    """
    path = lock_path()
    descriptor = _opened(path)
    try:
        _wait(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def lock_path() -> Path:
    """COURSE_TIMING_LOCK, or a file in the machine's folder for temporary files."""
    default = Path(tempfile.gettempdir()) / "compression-course-timing.lock"
    return Path(os.environ.get("COURSE_TIMING_LOCK", default))


def _opened(path: Path) -> int:
    """Opened without O_CREAT where it stands already.

    With fs.protected_regular, Linux denies O_CREAT on a file of another user in a folder like
    /tmp, whatever its mode (Linux kernel documentation, sysctl/fs). flock needs no right to write.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            try:
                descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, MODE)
            except FileExistsError:
                continue  # another grader was first
            os.fchmod(descriptor, MODE)  # whatever the umask took away
            return descriptor


def _wait(descriptor: int, path: Path) -> None:
    start, patience = time.monotonic(), PATIENCE_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - start
        if waited >= patience:
            patience *= 2
            log.info(
                "waited %.0f s for another grader on this machine, which measures speed and "
                "holds %s; measured here when it is done",
                *(waited, path),
            )
        time.sleep(POLL_S)
