"""The grader's end of a zygote: one call, one fresh process with nothing of any other's."""

import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Protocol

from autograder.lab import Limits
from autograder.sandbox import cgroups
from autograder.sandbox.zygote import Settings

START_S = 120  # for the zygote to import everything, on a busy machine
BIRTH_S = 30

# The kernel ends bubblewrap with the thread that started it, so that thread must outlive it.
_launcher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-launcher")


class Process(Protocol):
    """What the grader needs of a process that it does not trust."""

    @property
    def stdin(self) -> IO[bytes] | None: ...

    @property
    def stdout(self) -> IO[bytes] | None: ...

    def kill(self) -> None: ...

    def wait(self) -> int: ...


class NurseryGone(Exception):
    """The zygote did not start, or ended. The message says what it printed last."""


class Nursery:
    """A zygote in a sandbox of its own, and the forks that it makes for us."""

    def __init__(
        self,
        start: Callable[[int, IO[bytes]], "subprocess.Popen[bytes]"],
        settings: Settings,
        limits: Limits,
        groups: tuple[cgroups.Hierarchy, ...],
    ) -> None:
        self._limits, self._groups = limits, groups
        self._lock = threading.Lock()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the zygote)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._zygote = _launcher.submit(start, theirs.fileno(), self._log).result()
        self._socket = ours
        ours.settimeout(START_S)
        self._exchange(json.dumps(asdict(settings)).encode())

    def hatch(self, uid: int, released: Callable[[], None]) -> "Hatched":
        """A fresh process that waits for requests.

        Args:
            uid: what it runs as, where the launcher may choose.
            released: called once the process and all that it started are gone.

        Raises:
            NurseryGone: the zygote is no more.
        """
        request_end, requests = os.pipe()
        replies, reply_end = os.pipe()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours:
            with self._lock, theirs:
                self._send(str(uid).encode(), [request_end, reply_end, theirs.fileno()])
            os.close(request_end)
            os.close(reply_end)
            ours.settimeout(BIRTH_S)
            try:
                pidfd = socket.recv_fds(ours, 16, 1)[1][0]
                group = cgroups.create(self._groups, self._limits)
                group.join(_host_pid(pidfd))
                ours.send(b"g")
            except (OSError, IndexError) as error:
                os.close(requests)
                os.close(replies)
                raise NurseryGone(f"no process was born ({error}); {self._said()}") from error
        return Hatched(os.fdopen(requests, "wb"), os.fdopen(replies, "rb"), pidfd, group, released)

    def close(self) -> None:
        self._socket.close()
        self._zygote.kill()
        self._zygote.wait()
        self._log.close()

    def _exchange(self, message: bytes) -> None:
        try:
            self._socket.send(message)
            answer = self._socket.recv(16)
        except OSError as error:
            raise NurseryGone(f"the zygote does not answer ({error}); {self._said()}") from error
        if answer != b"ready":
            raise NurseryGone(f"the zygote ended before it was ready; {self._said()}")

    def _send(self, message: bytes, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._socket, [message], descriptors)
        except OSError as error:
            raise NurseryGone(f"the zygote is gone ({error}); {self._said()}") from error

    def _said(self) -> str:
        self._log.seek(0)
        last = self._log.read()[-2000:].decode(errors="replace").strip()
        return f"it said: {last}" if last else "it said nothing"


class Hatched:
    """A fork of the zygote. `kill` ends its whole process tree, `wait` returns when all is gone."""

    def __init__(
        self,
        stdin: IO[bytes],
        stdout: IO[bytes],
        pidfd: int,
        group: cgroups.Group,
        released: Callable[[], None],
    ) -> None:
        self.stdin, self.stdout = stdin, stdout
        self._pidfd, self._group, self._released = pidfd, group, released
        self._lock = threading.Lock()
        self._gone = False

    def kill(self) -> None:
        with self._lock:
            if not self._gone:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def wait(self) -> int:
        poll = select.poll()
        with self._lock:
            if self._gone:
                return 0
            poll.register(self._pidfd, select.POLLIN)
        poll.poll()
        with self._lock:
            if not self._gone:
                self._gone = True
                os.close(self._pidfd)
                self._group.remove()
                self._released()
        return 0


def _host_pid(pidfd: int) -> int:
    lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text("ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["Pid"])
