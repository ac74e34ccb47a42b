"""Student code under another uid and with limits, where no namespaces can be had.

For plain containers, such as Gradescope's, that are thrown away after one submission. The uid
keeps it from what only root may read (hidden tests, hidden data, results) and from the grader's
processes. It shares the container's network, processes and file system: each report says so.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.lab import Limits
from autograder.sandbox import world
from labkit import data as data_sets


@dataclass(frozen=True)
class OtherUser:
    """Only for root: nobody else may start processes of another uid."""

    models: Path  # a folder of ours, for what models' processes read
    isolation: tuple[str, ...] = ("another uid, no capabilities, no_new_privs", "rlimits")
    missing: tuple[str, ...] = (
        "no sandbox but another uid: student code shares the container's network, processes and "
        "files that everybody may read",
    )

    def sees(self, inside: str, host: Path) -> str:
        """A copy that the uid of models may read, and that of students may not."""
        digest = hashlib.sha256(host.read_bytes()).hexdigest()
        copy = self.models / f"{digest}{host.suffix}"
        if not copy.exists():
            self.models.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(host, copy)
            for path in (copy, self.models):
                os.chown(path, world.MODEL_UID, world.MODEL_UID)
            self.models.chmod(0o700)
        return str(copy)

    def worker(self, reads: Mapping[str, Path], limits: Limits) -> "subprocess.Popen[bytes]":
        module = ["autograder.worker", str(limits.log_bytes)]
        return self._started(world.STUDENT_UID, module, reads, limits)

    def start(
        self, module: Sequence[str], reads: Mapping[str, Path], limits: Limits
    ) -> "subprocess.Popen[bytes]":
        return self._started(world.MODEL_UID, module, reads, limits)

    def _started(
        self, uid: int, module: Sequence[str], reads: Mapping[str, Path], limits: Limits
    ) -> "subprocess.Popen[bytes]":
        folder = _folder_of(uid)
        data = [host for inside, host in reads.items() if inside.startswith(world.DATA)]
        own = {
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "LABKIT_OUT": str(folder / "out"),
            "PYTHONPATH": str(world.packages()),
            "MPLCONFIGDIR": str(folder),
        } | ({"LABKIT_CACHE": str(data_sets.cache_folder())} if data else {})
        drop = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
        drop += ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        return subprocess.Popen(
            [*drop, "--", *world.limited(limits), sys.executable, "-m", *module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=world.environment(limits) | own,
            cwd=folder,
            start_new_session=True,
        )


def _folder_of(uid: int) -> Path:
    """A fresh folder that this uid alone may enter; gone with the container."""
    folder = Path(tempfile.mkdtemp(prefix="course-"))
    (folder / "out").mkdir()
    for path in (folder, folder / "out"):
        os.chown(path, uid, uid)
        path.chmod(0o700)
    return folder


def usable() -> bool:
    """Whether this process may start others under another uid."""
    return os.geteuid() == 0 and shutil.which("setpriv") is not None
