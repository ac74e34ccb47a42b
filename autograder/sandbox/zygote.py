"""Inside the sandbox: imports once what notebooks need, then forks a fresh process for each.

It never runs student code itself. Each fork gets namespaces, memory file systems and (as root)
a uid of its own, loses every privilege, and then serves one notebook: nothing that a notebook
does can reach the zygote or the next one. The zygote stays without threads, as fork requires.
"""

import ctypes
import importlib
import json
import os
import resource
import socket
import stat
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from autograder import worker
from autograder.sandbox import world

# What almost every notebook imports, or labkit on its behalf at the first call.
PRELOADED = (
    *("torch", "labkit", "labkit.data", "labkit.baselines", "labkit.export", "labkit.plots"),
    *("matplotlib.pyplot", "datasets", "onnx", "onnxruntime", "onnxscript", "torch.onnx"),
    *("safetensors.torch", "IPython.core.interactiveshell"),
)
MAX_MESSAGE_BYTES = 64 * 1024
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 2, 4, 8, 0x1000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID = 0x20000, 0x4000000, 0x8000000, 0x20000000
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 4, 24, 22, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, SECCOMP_MODE_FILTER = 47, 4, 2
CAPABILITIES_V3, LAST_CAPABILITY = 0x20080522, 40
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Settings:
    """What every fork is bound by; the first message that the zygote receives."""

    as_root: bool  # the fork must give up the uid 0
    memory_bytes: int
    processes: int
    output_bytes: int
    output_files: int
    log_bytes: int
    filter_program: str  # seccomp, in hexadecimal


def main() -> None:
    nursery = socket.socket(fileno=int(sys.argv[1]))
    settings = Settings(**json.loads(nursery.recv(MAX_MESSAGE_BYTES)))
    for module in PRELOADED:
        importlib.import_module(module)
    nursery.send(b"ready")
    while True:
        message, descriptors, *_ = socket.recv_fds(nursery, 64, 3)
        if not message:
            return
        if (pid := os.fork()) == 0:
            _between(settings, int(message), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        os.waitpid(pid, 0)


def _between(settings: Settings, uid: int, requests: int, replies: int, control: int) -> NoReturn:
    """New namespaces hold for children only, so the notebook's init is this process's child."""
    try:
        _check(_libc.unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS))
        if os.fork() == 0:
            _init(settings, uid, requests, replies, control)
        os._exit(0)
    finally:
        os._exit(1)


def _init(settings: Settings, uid: int, requests: int, replies: int, control: int) -> NoReturn:
    """Process 1 of the notebook's namespace: when it ends, the kernel ends all that is left."""
    try:
        channel = socket.socket(fileno=control)
        socket.send_fds(channel, [b"born"], [os.pidfd_open(os.getpid())])
        if channel.recv(1) != b"g":  # the grader has put us under its limits, or is gone
            os._exit(1)
        _mount(settings)
        _limit(settings)
        _drop_privileges(settings, uid)
        if (pid := os.fork()) == 0:
            _serve(settings, requests, replies)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        while os.wait()[0] != pid:
            pass
    except BaseException:
        traceback.print_exc()  # to the log that the nursery keeps
    finally:
        os._exit(0)


def _serve(settings: Settings, requests: int, replies: int) -> NoReturn:
    try:
        low, high = sorted((requests, replies))
        os.closerange(3, low)
        os.closerange(low + 1, high)
        os.closerange(high + 1, os.sysconf("SC_OPEN_MAX"))
        os.chdir(world.HOME)
        np.random.seed()  # noqa: NPY002 (else all would draw what the zygote was born with)
        worker.serve(requests, replies, settings.log_bytes)
    finally:
        os._exit(0)


def _mount(settings: Settings) -> None:
    """Memory file systems and a /proc of the notebook's own, over those of the zygote."""
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    size = f"size={settings.output_bytes},nr_inodes={settings.output_files},mode=1777".encode()
    flags = MS_NOSUID | MS_NODEV
    for folder in world.WRITABLE:
        below = [point for point in _mount_points() if point.is_relative_to(f"{folder}/")]
        kept = [(point, os.open(point, os.O_PATH)) for point in below]
        _check(_libc.mount(b"tmpfs", folder.encode(), b"tmpfs", flags, size))
        for point, descriptor in kept:
            _show_again(point, descriptor)
    _check(_libc.mount(b"proc", b"/proc", b"proc", flags | MS_NOEXEC, None))


def _mount_points() -> list[Path]:
    """Where something is mounted: a course may lie below /tmp, and must be seen there."""
    lines = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    return [Path(line.split()[4]) for line in lines]


def _show_again(point: Path, descriptor: int) -> None:
    """Mount once more, as it was, what a new file system has covered."""
    point.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        point.mkdir(exist_ok=True)
    else:
        point.touch()
    source = f"/proc/self/fd/{descriptor}".encode()
    _check(_libc.mount(source, str(point).encode(), None, MS_BIND | MS_REC, None))
    os.close(descriptor)


def _limit(settings: Settings) -> None:
    for which, bound in (
        (resource.RLIMIT_AS, settings.memory_bytes),
        (resource.RLIMIT_NPROC, settings.processes),
        (resource.RLIMIT_FSIZE, settings.output_bytes),
        (resource.RLIMIT_NOFILE, 1024),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(which, (bound, bound))


def _drop_privileges(settings: Settings, uid: int) -> None:
    """The uid, all capabilities for good, and the system calls that the filter refuses."""
    _check(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    for capability in range(LAST_CAPABILITY + 1):
        _check(_libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0))
    if settings.as_root:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header, none = (ctypes.c_uint32 * 2)(CAPABILITIES_V3, 0), (ctypes.c_uint32 * 6)()
    _check(_libc.capset(header, none))
    _check(_libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))  # else /proc/self belongs to root
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if not (program := bytes.fromhex(settings.filter_program)):
        return  # no libseccomp here; the evidence says so
    fprog = _Program(len(program) // 8, program)  # a struct sock_filter has 8 bytes
    _check(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(fprog), 0, 0))


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _check(outcome: int) -> None:
    if outcome != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
