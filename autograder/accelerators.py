"""GPUs: what this machine has, and what of a requirement the offered ones do not meet."""

import csv
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from autograder.lab import MIB, Requirement

DRIVER_S = 20.0  # that a driver may take to answer; one that hangs is as good as none


@dataclass(frozen=True)
class Accelerator:
    name: str  # as the driver says it
    compute_capability: float  # 0: the driver does not say
    memory_bytes: int  # the same

    def __str__(self) -> str:
        return f"{self.name} ({self.compute_capability}, {self.memory_bytes // MIB} MiB)"

    def serves(self, required: Requirement) -> bool:
        return (
            required.accelerator.lower() in self.name.lower()
            and self.compute_capability >= required.compute_capability
            and self.memory_bytes >= required.accelerator_memory_bytes
        )


def present() -> tuple[Accelerator, ...]:
    """What nvidia-smi lists on this machine; none where it is missing or does not answer."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return ()
    query = [tool, "--query-gpu=name,compute_cap,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=DRIVER_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = (row for row in csv.reader(done.stdout.splitlines(), skipinitialspace=True))
    return tuple(
        Accelerator(row[0], _number(row[1]), int(_number(row[2].removesuffix("MiB")) * MIB))
        for row in rows
        if len(row) == 3
    )


def wanted(required: Requirement) -> str:
    """What a requirement asks of an accelerator, in words; empty if it asks for none."""
    name, capability = required.accelerator, required.compute_capability
    asked = [
        f"a name with {name}" if name else "",
        f"compute capability {capability}" if capability else "",
        f"{m // MIB} MiB" if (m := required.accelerator_memory_bytes) else "",
    ]
    return ", ".join(filter(None, asked))


def lacks(offered: Sequence[Accelerator], required: Requirement) -> str:
    """What is required and not offered, in words; empty if nothing is missing."""
    asked = wanted(required)
    if not asked or any(each.serves(required) for each in offered):
        return ""
    there = ", ".join(map(str, offered)) or "none"
    return f"it needs an accelerator ({asked}), and {there} is offered"


def _number(text: str) -> float:
    """0 for what a driver says instead of a number, such as [N/A]."""
    try:
        return float(text)
    except ValueError:
        return 0.0
