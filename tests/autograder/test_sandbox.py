"""What a notebook's process can reach, what it leaves behind, and what ends it."""

import os
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import minilab
import pytest

from autograder.lab import MIB, Limits
from autograder.records import Cell
from autograder.run import ProcessGone, StudentProcess
from autograder.sandbox import Bubblewrap, Sandbox, cgroups, world

LAB = replace(minilab.LAB, datasets=(), limits=Limits(cell_s=20, call_s=5, processes=64))


@contextmanager
def process(sandbox: Sandbox, limits: Limits = LAB.limits) -> Iterator[StudentProcess]:
    started = StudentProcess(replace(LAB, limits=limits), sandbox)
    try:
        yield started
    finally:
        started.end()


def said(started: StudentProcess, source: str, seconds: float = 20) -> str:
    run = started.execute(Cell("cell", textwrap.dedent(source)), seconds)
    return run.output + run.error


TRACES = """
    import os, sys, torch, numpy, builtins
    torch.planted = numpy.planted = builtins.planted = "planted"
    os.environ["PLANTED"] = "planted"
    sys.path.insert(0, "/tmp")
    for folder in ("/tmp", "/out", "/home/student", "/dev/shm"):
        open(folder + "/planted", "w").write("planted")
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(99)
    if os.fork() == 0:
        os.setsid()
        import time
        time.sleep(600)
"""
SEARCH = """
    import os, sys, glob, torch, numpy, builtins
    print([m for m in (torch, numpy, builtins) if hasattr(m, "planted")],
          os.environ.get("PLANTED"), "/tmp" in sys.path, torch.get_default_dtype(),
          torch.initial_seed() == 99, len(glob.glob("/proc/[0-9]*")),
          [f for f in ("/tmp", "/out", "/home/student", "/dev/shm")
           if os.path.exists(f + "/planted")])
"""


def test_nothing_survives_from_one_notebook_to_the_next(isolated: Sandbox) -> None:
    with process(isolated) as first:
        assert said(first, TRACES) == ""
    with process(isolated) as second:
        assert said(second, SEARCH) == "[] None False torch.float32 False 2 []\n"


def test_notebooks_beside_each_other_do_not_meet(isolated: Sandbox) -> None:
    with process(isolated) as first, process(isolated) as second:
        assert said(first, TRACES) == ""
        assert said(second, SEARCH) == "[] None False torch.float32 False 2 []\n"
        uids = {said(each, "import os; print(os.getuid())") for each in (first, second)}
        assert len(uids) == 2


def test_imports_are_there_before_the_notebook_asks(isolated: Sandbox) -> None:
    with process(isolated) as started:
        present = said(started, "import sys; print('torch' in sys.modules, 'onnx' in sys.modules)")
        assert present == "True True\n"


def test_each_notebook_draws_other_numbers_without_a_seed(isolated: Sandbox) -> None:
    draw = "import numpy, random; print(numpy.random.rand(), random.random())"
    with process(isolated) as first, process(isolated) as second:
        assert said(first, draw) != said(second, draw)


@pytest.mark.parametrize(
    "call",
    [
        "unshare(0x10000000)",  # a user namespace, where it would be root
        "mount(b'x', b'/tmp', b'tmpfs', 0, None)",
        "ptrace(16, 1, 0, 0)",
        "syscall(321, 0, 0, 0)",  # bpf
        "syscall(425, 1, 0)",  # io_uring_setup
        "setns(0, 0)",
        "chroot(b'/tmp')",
        "syscall(56, 0x10000011, 0, 0, 0, 0)",  # clone into a user namespace
        "socket(38, 5, 0)",  # AF_ALG
        "socket(40, 1, 0)",  # AF_VSOCK
    ],
)
def test_system_calls_that_no_notebook_needs_are_refused(isolated: Sandbox, call: str) -> None:
    with process(isolated) as started:
        source = f"""
            import ctypes, errno
            libc = ctypes.CDLL(None, use_errno=True)
            print(libc.{call}, ctypes.get_errno() == errno.EPERM)
        """
        assert said(started, source) == "-1 True\n"


def test_no_capability_and_no_descriptor_of_ours_is_left(isolated: Sandbox) -> None:
    source = """
        import os
        fields = dict(line.split(":") for line in open("/proc/self/status"))
        print({fields[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
              fields["NoNewPrivs"].strip(), fields["Seccomp"].strip())
        print([os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
               if os.path.exists(f"/proc/self/fd/{fd}")])
    """
    with process(isolated) as started:
        privileges, files = said(started, source).splitlines()
    assert privileges == "{'0000000000000000'} 1 2"
    assert all(name in files for name in ("/dev/null", "pipe:"))
    assert not any(name in files for name in ("memfd", "pidfd", "socket:", "/work", "/root"))


def test_a_fork_bomb_meets_its_limit_and_is_gone_afterwards(isolated: Sandbox) -> None:
    bomb = """
        import os, time
        children = 0
        try:
            while children < 1000:
                if os.fork() == 0:
                    time.sleep(600)
                children += 1
        except BlockingIOError:
            print(children)
    """
    with process(isolated) as started:
        assert 0 < int(said(started, bomb)) <= 64


def test_endless_forks_end_with_the_cell(isolated: Sandbox) -> None:
    with process(isolated) as started, pytest.raises(ProcessGone, match="time limit"):
        said(started, "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", 2)


def test_what_lies_below_a_private_folder_is_still_seen_and_not_written(tmp_path: Path) -> None:
    """As a course does that was checked out below /tmp."""
    sandbox = Bubblewrap(as_root=os.geteuid() == 0)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file").write_text("shown")
    tmp_path.chmod(0o755)
    reads = {"/tmp/deep/set": tmp_path / "set", "/tmp/deep/file": tmp_path / "set" / "file"}
    child = sandbox.worker(reads, LAB.limits)
    started = StudentProcess(LAB, cast(Sandbox, SimpleNamespace(worker=lambda *_: child)))
    try:
        source = """
            print(open("/tmp/deep/set/file").read(), open("/tmp/deep/file").read())
            open("/tmp/mine", "w").write("x")
            open("/tmp/deep/set/file", "w")
        """
        assert said(started, source).startswith("shown shown")
        assert "Read-only file system" in said(started, source) + said(started, source)
    finally:
        started.end()


def test_the_number_of_files_has_a_bound(isolated: Sandbox) -> None:
    source = """
        import os
        made = 0
        try:
            while made < 100_000:
                os.close(os.open(f"/tmp/{made}", os.O_CREAT))
                made += 1
        except OSError as error:
            print(made, error.strerror)
    """
    with process(isolated) as started:
        made, why = said(started, source).split(" ", 1)
    assert int(made) < LAB.limits.output_files
    assert why.startswith("No space left")


@pytest.mark.skipif(os.geteuid() != 0, reason="the groups of this machine belong to root")
def test_memory_is_limited_over_all_processes_of_a_notebook_where_groups_are_writable() -> None:
    sandbox = Bubblewrap(as_root=True)
    if "memory" not in {name for place in cgroups.hierarchies() for name in place.controllers}:
        assert any("memory" in lack for lack in sandbox.missing)
        return
    hog = """
        import os
        ends = []
        for _ in range(4):
            read, write = os.pipe()
            if os.fork() == 0:
                x = bytearray(600 * 2**20)
                os.write(write, b"x")
                os._exit(0) if os.read(read, 1) else None
            ends.append(read)
        statuses = [os.wait()[1] for _ in ends]
        print(sorted({s for s in statuses}))
    """
    limits = replace(LAB.limits, memory_bytes=1500 * MIB)
    with process(sandbox, replace(limits, memory_bytes=16_000 * MIB)) as free:
        assert said(free, hog) == "[0]\n"
    with process(sandbox, limits) as bound:
        try:
            assert said(bound, hog) != "[0]\n"
        except ProcessGone as gone:  # the kernel may choose the notebook itself
            assert "memory" in str(gone)


def test_groups_are_written_as_version_2_wants_them(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "cgroup.subtree_control").write_text("memory pids cpu\n")
    own = tmp_path / "own"
    own.write_text("0::/job\n")
    (place,) = cgroups.hierarchies(own, tmp_path)
    group = cgroups.create((place,), Limits(memory_bytes=5, processes=6, threads=2))
    group.join(7)
    written = {file.name: file.read_text() for file in group.folders[0].iterdir()}
    assert written == {
        "memory.max": "5", "pids.max": "6", "cpu.max": "200000 100000", "cgroup.procs": "7"
    }  # fmt: skip


def test_where_no_group_is_writable_there_is_none(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("4:memory:/elsewhere\n0::/\n")
    assert cgroups.hierarchies(own, tmp_path) == ()
    assert cgroups.hierarchies(tmp_path / "absent", tmp_path) == ()


def test_a_zygote_that_was_killed_is_replaced() -> None:
    sandbox = Bubblewrap(as_root=os.geteuid() == 0)
    with process(sandbox) as first:
        for nursery in sandbox._nurseries.values():
            nursery._zygote.kill()
            nursery._zygote.wait()
        with pytest.raises(ProcessGone):  # it died with its zygote
            said(first, "1")
    with process(sandbox) as second:
        assert said(second, "print(1)") == "1\n"


def test_a_nursery_outlives_the_thread_that_first_asked_for_it() -> None:
    sandbox = Bubblewrap(as_root=os.geteuid() == 0)

    def first() -> None:
        with process(sandbox) as started:
            said(started, "1")

    asking = threading.Thread(target=first)
    asking.start()
    asking.join()
    zygotes = [nursery._zygote for nursery in sandbox._nurseries.values()]
    with process(sandbox) as second:
        assert said(second, "print(1)") == "1\n"
    assert [zygote.poll() for zygote in zygotes] == [None]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user to try it")
def test_an_ordinary_user_gets_a_sandbox_too() -> None:
    """In a mount namespace where the interpreter, which may lie in root's home, can be read."""
    script = """
        import pathlib, tempfile
        from autograder.lab import Limits
        from autograder.run import StudentProcess
        from autograder.records import Cell
        from autograder import sandbox
        class Lab: limits, datasets, models = Limits(), (), ()
        started = StudentProcess(Lab, sandbox.find(allow_unsafe=False))
        source = "import os; print(os.getuid(), os.access('/usr', os.W_OK))"
        run = started.execute(Cell("a", source), 20)
        print(run.output, run.error)
        started.end()
    """
    nobody = "65534"
    needed = {Path(sys.base_prefix), Path(sys.prefix).resolve(), world.packages()}
    closed = {p for path in needed for p in path.parents if not p.stat().st_mode & stat.S_IXOTH}
    above = [x for p in sorted(closed) for x in ("--perms", "0755", "--tmpfs", str(p))]
    open_again = {
        c / path.relative_to(c).parts[0] for path in needed for c in closed & set(path.parents)
    }
    shown = [x for p in sorted(open_again) for x in ("--ro-bind", str(p), str(p))]
    done = subprocess.run(
        ["bwrap", "--dev-bind", "/", "/", *above, *shown,
         "--perms", "0777", "--tmpfs", "/mnt", "--",
         "setpriv", "--reuid", nobody, "--regid", nobody, "--clear-groups", "env",
         "HOME=/mnt",
         sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["60001", "False"], done.stderr[-2000:]
