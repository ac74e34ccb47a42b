"""bubblewrap around the process, with nothing of the grader inside.

No network, read-only system, private /tmp, /proc and /dev, cleared environment, an unprivileged
uid, limits on memory, processes and files. Everything that the process writes goes to memory
file systems of bounded size that die with it; what we want from it comes over its pipes.

Launched as root, the uid is dropped: in a user namespace made by root, uid 0 maps to uid 0, and
could read every file of root's that is bound. Launched as an ordinary user, a user namespace
does the same.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import matplotlib
from matplotlib import font_manager

from autograder.lab import Limits
from autograder.sandbox import cgroups, world
from autograder.sandbox.nursery import Nursery, NurseryGone, Process
from autograder.sandbox.zygote import Settings

PACKAGED_DATA = Path("/usr/share/datasets")
_PARENT_MODE = (
    "--perms",
    "0755",
    "--dir",
)  # bwrap's own parents are 0700: unreadable after the drop
_Key = tuple[tuple[tuple[str, Path], ...], Limits]


class SandboxUnavailable(Exception):
    """Code cannot be isolated on this machine. The message says what is missing."""


class Bubblewrap:
    def __init__(self, as_root: bool) -> None:
        self.as_root = as_root
        self._filter = _filter_program()
        self._groups = cgroups.hierarchies()
        self._nurseries: dict[_Key, Nursery] = {}
        self._free_uids = list(world.UIDS)
        self._lock = threading.Lock()

    @property
    def isolation(self) -> tuple[str, ...]:
        drop = "set by the launcher" if self.as_root else "in a user namespace"
        limited = [name for place in self._groups for name in place.controllers]
        return (
            "bubblewrap: own pid, ipc, uts and network namespaces",
            f"unprivileged uid ({drop}), no capabilities, no_new_privs",
            "read-only system, cleared environment and file descriptors",
            "rlimits on memory, processes, file size; memory file systems of bounded size",
            *(("a seccomp filter on system calls",) if self._filter else ()),
            *((f"control groups on {', '.join(sorted(limited))}",) if limited else ()),
        )

    @property
    def missing(self) -> tuple[str, ...]:
        limited = {name for place in self._groups for name in place.controllers}
        unlimited = sorted(set(cgroups.CONTROLLERS) - limited)
        return (
            *(() if self._filter else ("no seccomp filter: libseccomp is not installed",)),
            *(
                (f"no control group on {', '.join(unlimited)}: limited per process, not in sum",)
                if unlimited
                else ()
            ),
        )

    def sees(self, inside: str, host: Path) -> str:
        return inside

    def worker(self, reads: Mapping[str, Path], limits: Limits) -> Process:
        """A fork of a zygote that sees what this one may; a zygote that died is replaced once."""
        with self._lock:
            uid = self._free_uids.pop(0)
        try:
            return self._hatched(reads, limits, uid)
        except NurseryGone:
            self._forget(reads, limits)
        try:
            return self._hatched(reads, limits, uid)
        except NurseryGone as gone:
            self._release(uid)
            raise SandboxUnavailable(
                f"the sandbox ended before any student code ran: {gone}"
            ) from gone

    def start(
        self, module: Sequence[str], reads: Mapping[str, Path], limits: Limits
    ) -> "subprocess.Popen[bytes]":
        program = _memory_file("seccomp", self._filter) if self._filter else None
        inherited = () if program is None else (program,)
        before = [*self._drop(), *world.limited(limits)]
        options = () if program is None else ("--seccomp", str(program))
        try:
            return self._launch(
                [*options, *(() if self.as_root else ("--disable-userns",))],
                [*before, sys.executable, "-m", *module],
                (reads, limits),
                inherited,
                (subprocess.PIPE, subprocess.PIPE, subprocess.DEVNULL),
            )
        finally:
            if program is not None:
                os.close(program)

    def _hatched(self, reads: Mapping[str, Path], limits: Limits, uid: int) -> Process:
        key = (tuple(sorted(reads.items())), limits)
        with self._lock:
            if key not in self._nurseries:
                self._nurseries[key] = self._nursery(reads, limits)
            nursery = self._nurseries[key]
        return nursery.hatch(uid, lambda: self._release(uid))

    def _release(self, uid: int) -> None:
        with self._lock:
            self._free_uids.append(uid)

    def _forget(self, reads: Mapping[str, Path], limits: Limits) -> None:
        with self._lock:
            gone = self._nurseries.pop((tuple(sorted(reads.items())), limits), None)
        if gone is not None:
            gone.close()

    def _nursery(self, reads: Mapping[str, Path], limits: Limits) -> Nursery:
        settings = Settings(
            as_root=self.as_root,
            memory_bytes=limits.memory_bytes,
            processes=limits.processes,
            output_bytes=limits.output_bytes,
            output_files=limits.output_files,
            log_bytes=limits.log_bytes,
            filter_program=self._filter.hex(),
        )
        command = [sys.executable, "-c", "from autograder.sandbox import zygote; zygote.main()"]

        def start(channel: int, log: IO[bytes]) -> "subprocess.Popen[bytes]":
            # The privileges to make namespaces, mounts and uids for a fork, which loses them.
            kept = [x for c in ("SYS_ADMIN", "SETPCAP") for x in ("--cap-add", f"CAP_{c}")]
            streams = (subprocess.DEVNULL, subprocess.DEVNULL, log)
            line = [*command, str(channel)]
            return self._launch(kept, line, (reads, limits), (channel,), streams)

        return Nursery(start, settings, limits, self._groups)

    def _launch(
        self,
        options: Sequence[str],
        command: Sequence[str],
        sight: tuple[Mapping[str, Path], Limits],
        inherited: tuple[int, ...],
        streams: tuple[int | IO[bytes], ...],
    ) -> "subprocess.Popen[bytes]":
        passwd = _memory_file("passwd", world.PASSWD.encode())
        group = _memory_file("group", world.GROUP.encode())
        reads, limits = sight
        try:
            return subprocess.Popen(
                [
                    *self._namespaces(),
                    *options,
                    *_system(passwd, group, limits),
                    *_binds(reads),
                    *_environment_arguments(limits),
                    *("--chdir", world.HOME, "--remount-ro", "/dev", "--remount-ro", "/", "--"),
                    *command,
                ],
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                env={"PATH": "/usr/bin:/bin"},  # bwrap's own is readable inside as /proc/1/environ
                pass_fds=(passwd, group, *inherited),
                start_new_session=True,
            )
        finally:
            os.close(passwd)
            os.close(group)

    def _namespaces(self) -> list[str]:
        unshare = [f"--unshare-{name}" for name in ("pid", "ipc", "uts", "cgroup-try", "net")]
        common = ["bwrap", *unshare, "--die-with-parent", "--new-session", "--clearenv"]
        common += ["--hostname", "sandbox"]
        if not self.as_root:
            uid = str(world.STUDENT_UID)
            return [*common, "--unshare-user", "--uid", uid, "--gid", uid]
        kept = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")  # to give up the uid, and themselves
        return [*common, "--cap-drop", "ALL", *(x for c in kept for x in ("--cap-add", c))]

    def _drop(self) -> list[str]:
        if not self.as_root:
            return []
        uid = str(world.MODEL_UID)
        return ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "--inh-caps=-all",
                "--bounding-set=-all", "--no-new-privs", "--"]  # fmt: skip


def _filter_program() -> bytes:
    """The seccomp program; empty where libseccomp is not installed."""
    try:
        from autograder.sandbox import filter as system_calls
    except (ImportError, OSError, RuntimeError):
        return b""
    return system_calls.program()


def _memory_file(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _system(passwd: int, group: int, limits: Limits) -> list[str]:
    size = str(limits.output_bytes)
    argv = ["--ro-bind", "/usr", "/usr"]
    if PACKAGED_DATA.is_dir():  # a data set's package brings its test part along
        argv += ["--tmpfs", str(PACKAGED_DATA)]
    for link in ("lib", "lib64", "bin", "sbin"):
        argv += ["--symlink", f"usr/{link}", f"/{link}"]
    argv += [*_PARENT_MODE, "/etc", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    argv += ["--perms", "0644", "--ro-bind-data", str(passwd), "/etc/passwd"]
    argv += ["--perms", "0644", "--ro-bind-data", str(group), "/etc/group"]
    argv += ["--proc", "/proc", "--dev", "/dev"]
    argv += [*_PARENT_MODE, "/home"]
    for folder in world.WRITABLE:
        argv += ["--size", size, "--perms", "1777", "--tmpfs", folder]
    return argv


def _binds(reads: Mapping[str, Path]) -> list[str]:
    """The interpreter, this project's two packages, a font cache, and what the job reads."""
    binds = {sys.base_prefix: Path(sys.base_prefix), sys.prefix: Path(sys.prefix)}
    binds |= {f"{world.COURSE}/{n}": world.packages() / n for n in ("labkit", "autograder")}
    binds |= dict(reads)
    argv = [*_PARENT_MODE, world.COURSE, *_PARENT_MODE, world.DATA]
    argv += ["--perms", "0777", "--dir", world.MPL_CONFIG]
    for inside, host in binds.items():
        for parent in reversed(Path(inside).parents[:-1]):
            argv += [*_PARENT_MODE, str(parent)]
        argv += ["--ro-bind", str(host), inside]
    fonts = _font_cache()  # building it takes matplotlib seconds in every process
    return [*argv, "--ro-bind", str(fonts), f"{world.MPL_CONFIG}/{fonts.name}"]


def _font_cache() -> Path:
    version = font_manager.FontManager.__version__
    return Path(matplotlib.get_cachedir()) / f"fontlist-v{version}.json"


def _environment_arguments(limits: Limits) -> list[str]:
    return [
        part
        for name, value in world.environment(limits).items()
        for part in ("--setenv", name, value)
    ]
