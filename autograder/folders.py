"""A folder that was handed in, read without following any link.

Every file is opened from the folder's own descriptor, one name at a time, each without following
links: a folder that becomes a link between being listed and being opened is not gone through.

A hard link cannot be told from the file itself, so nothing shows whose content it is. A file with
names outside of the submission is set aside, whoever owns it: on a shared disk it may be another
student's answer. Where it is one of the lab's notebooks the submission is refused instead, because
an innocent cause is likely (disks and backups that store equal files once) and no points would
then be the wrong answer. Names that all lie in the submission are fine.
"""

import os
import stat
from collections import Counter, deque
from collections.abc import Iterator, Set
from contextlib import suppress
from itertools import islice
from pathlib import Path

from autograder.offered import IGNORED, MAX_DEPTH, Offered
from autograder.records import Finding
from autograder.shown import shown

MAX_ENTRIES = 65_534  # files and folders that are looked at, as in a zip
CHUNK = 1024**2
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would block until somebody writes


class NotAFolder(Exception):
    """It cannot be read at all. The message continues `NAME is ...`."""


class Unfit(Exception):
    """One file must not be read. The message continues `This file ...`."""


class Folder:
    def __init__(self, path: Path, notebooks: Set[str]) -> None:
        """Raises NotAFolder if the path does not lead to a folder, or leads there by a link."""
        self._notebooks = notebooks
        self._names: Counter[tuple[int, int]] = Counter()  # by device and inode
        try:
            self._top = os.open(path, _FOLDER)
        except OSError as error:
            raise NotAFolder(f"a folder that cannot be read ({error})") from error

    def close(self) -> None:
        os.close(self._top)

    def offered(self) -> tuple[list[Offered], list[Finding]]:
        """Files from the top downwards. Raises NotAFolder for a notebook that has other names."""
        found = list(islice(self._walk(), MAX_ENTRIES + 1))
        findings = []
        if len(found) > MAX_ENTRIES:
            message = (
                f"The folder holds more than {MAX_ENTRIES} files; the first were looked at. Hand "
                "in the notebooks alone, without environments and data."
            )
            findings.append(Finding("the submission", message))
        self._names = Counter(
            (info.st_dev, info.st_ino) for _, info in found if stat.S_ISREG(info.st_mode)
        )
        return [self._offer(path, info) for path, info in found], findings

    def read(self, item: Offered) -> Iterator[bytes]:
        *above, name = item.path.split("/")
        folder = self._open_folder(above)
        try:
            descriptor = os.open(name, _FILE, dir_fd=folder)
        finally:
            os.close(folder)
        with os.fdopen(descriptor, "rb") as file:
            if problem := self._problem(os.fstat(descriptor)):  # it may be another file by now
                raise Unfit(problem)
            while part := file.read(CHUNK):
                yield part

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        """Files, and the folders that are not gone into: too deep, or not to be opened."""
        waiting = deque[tuple[list[str], os.stat_result]]([([], os.fstat(self._top))])
        while waiting:
            above, info = waiting.popleft()
            try:
                folder = self._open_folder(above)
            except OSError:  # unreadable, or no folder any more, and what it is now may be a link
                yield "/".join(above), info
                continue
            try:
                for parts, info in _listed(folder, above):
                    if stat.S_ISDIR(info.st_mode) and len(above) < MAX_DEPTH:
                        waiting.append((parts, info))
                    else:
                        yield "/".join(parts), info
            finally:
                os.close(folder)

    def _open_folder(self, parts: list[str]) -> int:
        """As openat2 does with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, which Python has not."""
        here = os.dup(self._top)
        for part in parts:
            try:
                below = os.open(part, _FOLDER, dir_fd=here)
            finally:
                os.close(here)
            here = below
        return here

    def _offer(self, path: str, info: os.stat_result) -> Offered:
        problem = self._problem(info)
        if problem and path.rpartition("/")[2] in self._notebooks and stat.S_ISREG(info.st_mode):
            raise NotAFolder(f"a folder in which {shown(path)} {problem}")
        return Offered(path, info.st_size, problem)

    def _problem(self, info: os.stat_result) -> str:
        if stat.S_ISDIR(info.st_mode):
            return (
                f"is a folder that cannot be opened, or has more than {MAX_DEPTH} others above it"
            )
        if not stat.S_ISREG(info.st_mode):
            return "is a link or a special file"
        known = self._names[info.st_dev, info.st_ino]
        if info.st_nlink > max(1, known):
            return (
                f"has {info.st_nlink} names on the disk (hard links), {info.st_nlink - known} of "
                "them outside of the submission, so its content may be another's; copy the "
                "submission to files of its own (cp -r --no-preserve=links)"
            )
        return ""


def _listed(folder: int, above: list[str]) -> Iterator[tuple[list[str], os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in islice(entries, MAX_ENTRIES + 1):
            with suppress(FileNotFoundError):  # gone while we looked
                if entry.name not in IGNORED:
                    yield [*above, entry.name], entry.stat(follow_symlinks=False)
