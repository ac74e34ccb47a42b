"""What this machine is, and whether it has what a check requires."""

import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from autograder import accelerators
from autograder.accelerators import Accelerator
from autograder.lab import MIB, Requirement, Threshold
from autograder.records import Machine
from autograder.sandbox import Sandbox

# Flags that decide which integer kernels ONNX Runtime and oneDNN choose.
ISA = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")
PACKAGES = ("torch", "onnxruntime", "onnx", "numpy")


class Equipment(Protocol):
    """What a check's requirement is held against: a machine, or what a runner has of one."""

    @property
    def cpu(self) -> str: ...

    @property
    def arch(self) -> str: ...

    @property
    def isa(self) -> tuple[str, ...]: ...

    @property
    def cores(self) -> int: ...

    @property
    def memory_bytes(self) -> int: ...


def describe(sandbox: Sandbox) -> Machine:
    flags = _cpuinfo("flags") or _cpuinfo("Features")
    return Machine(
        cpu=_cpuinfo("model name") or platform.processor() or "unknown",
        arch=platform.machine(),
        isa=tuple(flag for flag in ISA if flag in flags.split()),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        versions={"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        isolation=sandbox.isolation,
        missing=sandbox.missing,
        core_numbers=tuple(sorted(os.sched_getaffinity(0))),
    )


def lacks(machine: Equipment, required: Requirement, offered: Sequence[Accelerator] = ()) -> str:
    """What a check requires and the machine has not, in words; empty if it has all.

    Args:
        offered: the accelerators that the check may use. A room that measures on the CPU offers
            none, whatever the machine has.
    """
    missing = [flag for flag in required.isa if flag not in machine.isa]
    if required.arch and required.arch != machine.arch:
        return f"it needs the architecture {required.arch}, this machine is {machine.arch}"
    if missing:
        return f"it needs a CPU with {', '.join(missing)}, which {machine.cpu} has not"
    if machine.cores < required.cores:
        return f"it needs {required.cores} cores, this machine has {machine.cores}"
    if machine.memory_bytes < required.memory_bytes:
        needed, present = required.memory_bytes // MIB, machine.memory_bytes // MIB
        return f"it needs {needed} MiB of memory, this machine has {present} MiB"
    return accelerators.lacks(offered, required)


def here(threshold: Threshold, machine: Machine) -> Threshold:
    """A threshold with the numbers that hold on this machine."""
    for other in threshold.runners:
        if not lacks(machine, other.requires):
            return replace(
                threshold, full=other.full, none=other.none, basis=other.basis, runners=()
            )
    return threshold


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")
