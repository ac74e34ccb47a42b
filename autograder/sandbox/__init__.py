"""Where code that we do not trust runs. `find` gives the best way that this machine has.

world        what a process sees from inside
bubblewrap   the launch line: namespaces, binds, uid
filter       the system calls that are refused
cgroups      memory, processes and CPU in sum
zygote       inside: imports once, forks for every notebook
nursery      outside: asks the zygote for a fresh process
unsafe       no sandbox at all, for a machine to throw away
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from autograder.lab import Limits
from autograder.sandbox.bubblewrap import Bubblewrap, SandboxUnavailable
from autograder.sandbox.nursery import Process
from autograder.sandbox.unsafe import NoSandbox
from autograder.sandbox.world import DATA

__all__ = ["DATA", "Bubblewrap", "NoSandbox", "Process", "Sandbox", "SandboxUnavailable", "find"]


class Sandbox(Protocol):
    """A way to start a process that we do not trust."""

    @property
    def isolation(self) -> tuple[str, ...]: ...

    @property
    def missing(self) -> tuple[str, ...]: ...

    def sees(self, inside: str, host: Path) -> str:
        """The path under which a process finds what `reads` shows it at `inside`."""
        ...

    def worker(self, reads: Mapping[str, Path], limits: Limits) -> Process:
        """A fresh process that serves one notebook (autograder.worker), its imports done.

        Raises:
            SandboxUnavailable: none could be started.
        """
        ...

    def start(
        self, module: Sequence[str], reads: Mapping[str, Path], limits: Limits
    ) -> "subprocess.Popen[bytes]":
        """Run `python -m MODULE`, with pipes for its standard input and output.

        Args:
            module: the module's name and its arguments.
            reads: what it may read beside the system and labkit, by the path that it sees.
        """
        ...


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
