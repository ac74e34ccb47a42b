"""Limits on memory, processes and CPU in sum: control groups, version 1 or 2, where writable.

Groups are made below our own, per controller, and nothing is ever moved out of its launcher's.
"""

import itertools
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autograder.lab import Limits

CONTROLLERS = ("memory", "pids", "cpu")
CPU_PERIOD_US = 100_000
_counter = itertools.count()


@dataclass(frozen=True)
class Hierarchy:
    """Where groups can be made for some controllers."""

    version: int
    parent: Path
    controllers: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """The groups of one job, one folder per hierarchy."""

    folders: tuple[Path, ...]

    def join(self, pid: int) -> None:
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """Remove the groups of processes that are gone; the kernel may take a moment to agree."""
        for folder in self.folders:
            for _ in range(100):
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.005)


def hierarchies(
    own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> tuple[Hierarchy, ...]:
    """What can be limited here; empty where nothing is writable."""
    found = []
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return ()
    for line in lines:
        _, names, path = line.split(":", 2)
        below = path.lstrip("/")
        if names:
            wanted = tuple(name for name in names.split(",") if name in CONTROLLERS)
            found.append(Hierarchy(1, root / names / below, wanted))
        else:
            parent = root / below
            found.append(Hierarchy(2, parent, _delegated(parent)))
    usable = tuple(h for h in found if h.controllers and _works(h))
    _sweep(usable)
    return usable


def create(places: tuple[Hierarchy, ...], limits: Limits) -> Group:
    """A new group with the limits of one notebook."""
    name = f"course-{os.getpid()}-{next(_counter)}"
    folders = []
    for place in places:
        folder = place.parent / name
        folder.mkdir()
        folders.append(folder)
        for controller in place.controllers:
            _SETTERS[place.version, controller](folder, limits)
    return Group(tuple(folders))


def _delegated(parent: Path) -> tuple[str, ...]:
    """Version 2 limits children only in what their parent hands on."""
    try:
        handed_on = (parent / "cgroup.subtree_control").read_text().split()
    except OSError:
        return ()
    return tuple(name for name in CONTROLLERS if name in handed_on)


def _works(place: Hierarchy) -> bool:
    try:
        create((place,), Limits()).remove()
    except OSError:
        return False
    return True


def _sweep(places: tuple[Hierarchy, ...]) -> None:
    """Remove the groups of graders that were killed."""
    for place in places:
        for folder in place.parent.glob("course-*"):
            if not Path(f"/proc/{folder.name.split('-')[1]}").exists():
                with suppress(OSError):
                    folder.rmdir()


def _memory_1(folder: Path, limits: Limits) -> None:
    (folder / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
    with_swap = folder / "memory.memsw.limit_in_bytes"
    if with_swap.exists():
        with_swap.write_text(str(limits.memory_bytes))


def _memory_2(folder: Path, limits: Limits) -> None:
    (folder / "memory.max").write_text(str(limits.memory_bytes))
    swap = folder / "memory.swap.max"
    if swap.exists():
        swap.write_text("0")


def _pids(folder: Path, limits: Limits) -> None:
    (folder / "pids.max").write_text(str(limits.processes))


def _cpu_1(folder: Path, limits: Limits) -> None:
    (folder / "cpu.cfs_period_us").write_text(str(CPU_PERIOD_US))
    (folder / "cpu.cfs_quota_us").write_text(str(CPU_PERIOD_US * limits.threads))


def _cpu_2(folder: Path, limits: Limits) -> None:
    (folder / "cpu.max").write_text(f"{CPU_PERIOD_US * limits.threads} {CPU_PERIOD_US}")


_SETTERS: dict[tuple[int, str], Callable[[Path, Limits], None]] = {
    (1, "memory"): _memory_1,
    (2, "memory"): _memory_2,
    (1, "pids"): _pids,
    (2, "pids"): _pids,
    (1, "cpu"): _cpu_1,
    (2, "cpu"): _cpu_2,
}
