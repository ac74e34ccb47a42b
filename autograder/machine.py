"""What this machine is, and whether it has what a check requires."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from autograder.lab import MIB, Requirement
from autograder.records import Machine
from autograder.sandbox import Sandbox

# Flags that decide which integer kernels ONNX Runtime and oneDNN choose.
ISA = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")
PACKAGES = ("torch", "onnxruntime", "onnx", "numpy")


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


def lacks(machine: Machine, required: Requirement) -> str:
    """What a check requires and the machine has not, in words; empty if it has all."""
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
    return ""


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")
