"""Student code as an ordinary process of the grader's own user. For a machine to throw away."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

from autograder.lab import Limits
from autograder.sandbox import world


@dataclass(frozen=True)
class NoSandbox:
    isolation: tuple[str, ...] = ()
    missing: tuple[str, ...] = (
        "no sandbox: student code could read and write what the grader can",
    )

    def sees(self, inside: str, host: Path) -> str:
        return str(host)

    def worker(self, reads: Mapping[str, Path], limits: Limits) -> "subprocess.Popen[bytes]":
        return self.start(["autograder.worker", str(limits.log_bytes)], reads, limits)

    def start(
        self, module: Sequence[str], reads: Mapping[str, Path], limits: Limits
    ) -> "subprocess.Popen[bytes]":
        data = {inside: host for inside, host in reads.items() if inside.startswith(world.DATA)}
        folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"course-unsafe-{os.getpid()}"
        (folder / "out").mkdir(parents=True, exist_ok=True)
        overrides = {
            "HOME": str(folder),
            "LABKIT_OUT": str(folder / "out"),
            "PYTHONPATH": str(world.packages()),
            "MPLCONFIGDIR": matplotlib.get_cachedir(),
        }
        if data:
            overrides["LABKIT_CACHE"] = str(next(iter(data.values())).parent)
        return subprocess.Popen(
            [*world.limited(limits), sys.executable, "-m", *module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=world.environment(limits) | overrides,
            cwd=folder,
            start_new_session=True,
        )
