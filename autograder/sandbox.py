"""Where code that we do not trust runs: bubblewrap, with nothing of the grader inside.

No network, read-only system, private /tmp, /proc and /dev, cleared environment, an unprivileged
uid, limits on memory, processes and files. Everything that the process writes goes to memory
file systems of bounded size that die with it; what we want from it comes over its pipes.

Launched as root, the uid is dropped with setpriv: in a user namespace made by root, uid 0 maps
to uid 0, and could read every file of root's that is bound. Launched as an ordinary user, a user
namespace does the same.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import matplotlib
from matplotlib import font_manager

import labkit
from autograder.lab import Limits

STUDENT_UID = 60001
HOME, OUT, DATA, COURSE = "/home/student", "/out", "/data", "/course"
MPL_CONFIG = "/tmp/matplotlib"
PACKAGED_DATA = Path("/usr/share/datasets")
_PASSWD = f"student:x:{STUDENT_UID}:{STUDENT_UID}::{HOME}:/bin/sh\n"
_GROUP = f"student:x:{STUDENT_UID}:\n"
_PARENT_MODE = (
    "--perms",
    "0755",
    "--dir",
)  # bwrap's own parents are 0700: unreadable after the drop


class SandboxUnavailable(Exception):
    """Code cannot be isolated on this machine. The message says what is missing."""


class Sandbox(Protocol):
    """A way to start a process that we do not trust."""

    @property
    def isolation(self) -> tuple[str, ...]: ...

    @property
    def missing(self) -> tuple[str, ...]: ...

    def sees(self, inside: str, host: Path) -> str:
        """The path under which a process finds what `reads` shows it at `inside`."""
        ...

    def start(
        self, module: Sequence[str], reads: Mapping[str, Path], limits: Limits
    ) -> subprocess.Popen[bytes]:
        """Run `python -m MODULE`, with pipes for its standard input and output.

        Args:
            module: the module's name and its arguments.
            reads: what it may read beside the system and labkit, by the path that it sees.
        """
        ...


def environment(limits: Limits) -> dict[str, str]:
    """All variables that the process sees, in every kind of sandbox."""
    return {
        "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "PYTHONPATH": COURSE,
        "PYTHONHASHSEED": "0",
        "LABKIT_CACHE": DATA,
        "LABKIT_OUT": OUT,
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": MPL_CONFIG,
        "HF_HOME": "/tmp/huggingface",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "OMP_NUM_THREADS": str(limits.threads),
        "TMPDIR": "/tmp",
    }


@dataclass(frozen=True)
class Bubblewrap:
    as_root: bool

    @property
    def isolation(self) -> tuple[str, ...]:
        drop = "uid dropped by setpriv" if self.as_root else "user namespace"
        return (
            "bubblewrap: own pid, ipc, uts and network namespaces",
            f"unprivileged uid {STUDENT_UID} ({drop}), no capabilities, no_new_privs",
            "read-only system, cleared environment and file descriptors",
            "rlimits on memory, processes, file size; memory file systems of bounded size",
        )

    @property
    def missing(self) -> tuple[str, ...]:
        return ("no seccomp filter", "no cgroup: memory is limited per process, not in sum")

    def sees(self, inside: str, host: Path) -> str:
        return inside

    def start(
        self, module: Sequence[str], reads: Mapping[str, Path], limits: Limits
    ) -> subprocess.Popen[bytes]:
        passwd, group = _memory_file("passwd", _PASSWD), _memory_file("group", _GROUP)
        try:
            argv = [
                *self._namespaces(),
                *_system(passwd, group, limits),
                *_binds(reads),
                *_environment_arguments(limits),
                *("--chdir", HOME, "--remount-ro", "/dev", "--remount-ro", "/", "--"),
                *self._drop(),
                *_limited(limits),
                *(sys.executable, "-m", *module),
            ]
            return subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin"},  # bwrap's own is readable inside as /proc/1/environ
                pass_fds=(passwd, group),
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
            uid = str(STUDENT_UID)
            return [*common, "--unshare-user", "--uid", uid, "--gid", uid, "--disable-userns"]
        kept = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")  # for setpriv, which drops them
        return [*common, "--cap-drop", "ALL", *(x for c in kept for x in ("--cap-add", c))]

    def _drop(self) -> list[str]:
        if not self.as_root:
            return []
        uid = str(STUDENT_UID)
        return ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "--inh-caps=-all",
                "--bounding-set=-all", "--no-new-privs", "--"]  # fmt: skip


@dataclass(frozen=True)
class NoSandbox:
    """Student code as an ordinary process of the grader's own user. For a machine to throw away."""

    isolation: tuple[str, ...] = ()
    missing: tuple[str, ...] = (
        "no sandbox: student code could read and write what the grader can",
    )

    def sees(self, inside: str, host: Path) -> str:
        return str(host)

    def start(
        self, module: Sequence[str], reads: Mapping[str, Path], limits: Limits
    ) -> subprocess.Popen[bytes]:
        data = {inside: host for inside, host in reads.items() if inside.startswith(DATA)}
        folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"course-unsafe-{os.getpid()}"
        (folder / "out").mkdir(parents=True, exist_ok=True)
        overrides = {
            "HOME": str(folder),
            "LABKIT_OUT": str(folder / "out"),
            "PYTHONPATH": str(_package_parent()),
            "MPLCONFIGDIR": matplotlib.get_cachedir(),
        }
        if data:
            overrides["LABKIT_CACHE"] = str(next(iter(data.values())).parent)
        return subprocess.Popen(
            [*_limited(limits), sys.executable, "-m", *module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(limits) | overrides,
            cwd=folder,
            start_new_session=True,
        )


def find(allow_unsafe: bool) -> Sandbox:
    """The best sandbox that works here.

    Raises:
        SandboxUnavailable: there is none, and `allow_unsafe` is false.
    """
    if allow_unsafe:
        return NoSandbox()
    if platform.system() != "Linux" or shutil.which("bwrap") is None:
        raise SandboxUnavailable(
            "bubblewrap (bwrap) is not installed, so student code cannot be isolated; install it "
            "(`make setup` does), or accept the risk with --unsafe-no-sandbox"
        )
    sandbox = Bubblewrap(as_root=os.geteuid() == 0)
    trial = sandbox.start(["platform"], {}, Limits())
    trial.communicate()
    if trial.returncode:
        raise SandboxUnavailable(
            "bubblewrap is installed but cannot start a process here (are user namespaces "
            "allowed?); grade elsewhere, or accept the risk with --unsafe-no-sandbox"
        )
    return sandbox


def _memory_file(name: str, text: str) -> int:
    descriptor = os.memfd_create(name)
    os.write(descriptor, text.encode())
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
    for folder in ("/dev/shm", "/tmp", HOME, OUT):
        argv += ["--size", size, "--perms", "1777", "--tmpfs", folder]
    return argv


def _binds(reads: Mapping[str, Path]) -> list[str]:
    """The interpreter, this project's two packages, a font cache, and what the job reads."""
    packages = _package_parent()
    binds = {sys.base_prefix: Path(sys.base_prefix), sys.prefix: Path(sys.prefix)}
    binds |= {f"{COURSE}/{name}": packages / name for name in ("labkit", "autograder")}
    binds |= dict(reads)
    argv = [*_PARENT_MODE, COURSE, *_PARENT_MODE, DATA, "--perms", "0777", "--dir", MPL_CONFIG]
    for inside, host in binds.items():
        for parent in reversed(Path(inside).parents[:-1]):
            argv += [*_PARENT_MODE, str(parent)]
        argv += ["--ro-bind", str(host), inside]
    fonts = _font_cache()  # building it takes matplotlib seconds in every process
    return [*argv, "--ro-bind", str(fonts), f"{MPL_CONFIG}/{fonts.name}"]


def _package_parent() -> Path:
    return Path(labkit.__file__).resolve().parent.parent


def _font_cache() -> Path:
    version = font_manager.FontManager.__version__
    return Path(matplotlib.get_cachedir()) / f"fontlist-v{version}.json"


def _environment_arguments(limits: Limits) -> list[str]:
    return [
        part for name, value in environment(limits).items() for part in ("--setenv", name, value)
    ]


def _limited(limits: Limits) -> list[str]:
    return [
        "prlimit",
        f"--as={limits.memory_bytes}",
        f"--nproc={limits.processes}",
        f"--fsize={limits.output_bytes}",
        "--core=0",
        "--nofile=1024",
        "--memlock=0",
        "--",
    ]
