"""Which of the files that are handed in may be read: names that mean one file, sizes that fit."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from autograder.lab import MIB, Lab
from autograder.records import Finding
from autograder.shown import shown

MAX_DEPTH = 8  # folders above a file
MAX_PATH = 255  # characters in all
MAX_PART_BYTES = 255  # of one name between slashes; no Linux file system has more
_DRIVE = re.compile(r"[A-Za-z]:")
# Of editors, archivers, environments and repositories; neither graded nor worth a finding.
IGNORED = frozenset({
    "__MACOSX", ".ipynb_checkpoints", "__pycache__", ".DS_Store", ".git", ".venv", "node_modules",
})  # fmt: skip


@dataclass(frozen=True)
class Offered:
    """One file of a folder or zip, not yet read."""

    path: str  # in the submission, with forward slashes
    size_bytes: int  # as declared
    problem: str = ""  # why it must not be read, after `This file `; empty if it may be
    place: int = 0  # what its source finds it by, beside the path

    def set_aside(self, problem: str) -> Finding:
        message = f"This file {problem}. It was set aside, and the rest was graded."
        return Finding(shown(self.path), shown(message, 1000))


class Source(Protocol):
    """A folder or zip, open."""

    def offered(self) -> tuple[list[Offered], list[Finding]]:
        """All files, without the ignored ones, and what is to be said of the whole."""
        ...

    def read(self, item: Offered) -> Iterator[bytes]:
        """Raises OSError, Unfit or Damaged where the file is not what it was offered as."""
        ...

    def close(self) -> None: ...


def within_limits(offered: Sequence[Offered], lab: Lab) -> tuple[list[Offered], list[Finding]]:
    """The files that may be read, and a finding for each that may not.

    The lab's own notebooks come first, then what lies less deep: what is too much is not the
    answers.
    """
    names = {f"{name}.ipynb" for name in lab.notebooks}
    taken, accepted, findings = _Names(), list[Offered](), list[Finding]()
    total = 0
    for item in sorted(offered, key=lambda o: (_base(o.path) not in names, _depth(o.path), o.path)):
        problem = (
            item.problem
            or _problem_of_name(item.path)
            or _problem_of_size(item.size_bytes, total, len(accepted), lab)
            or taken.problem(item.path)
        )
        if problem:
            findings.append(item.set_aside(problem))
            continue
        taken.add(item.path)
        total += item.size_bytes
        accepted.append(item)
    return accepted, findings


def ignored(path: str) -> bool:
    return not IGNORED.isdisjoint(path.split("/"))


class _Names:
    """The names that are taken, as a disk sees them that knows neither case nor accents' form."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}  # by key: the path
        self.folders: dict[str, str] = {}

    def problem(self, path: str) -> str:
        other = self.files.get(_key(path)) or self.folders.get(_key(path))
        for folder in _above(path):
            other = other or self.files.get(_key(folder))
        if other is None:
            return ""
        return f"cannot lie beside {shown(other)}: on some disks the two names are one"

    def add(self, path: str) -> None:
        self.files[_key(path)] = path
        self.folders |= {_key(folder): path for folder in _above(path)}


def _problem_of_name(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or {"..", ".", ""} & set(parts) or "\\" in path or _DRIVE.match(path):
        return "has a name that leaves its folder; expected a path such as notebooks/01.ipynb"
    if not path.isprintable():
        return "has a name with unprintable characters"
    if len(path) > MAX_PATH or max(len(part.encode()) for part in parts) > MAX_PART_BYTES:
        return f"has a name of {len(path)} characters; at most {MAX_PATH}"
    if len(parts) - 1 > MAX_DEPTH:
        return f"lies {len(parts) - 1} folders deep; at most {MAX_DEPTH}"
    return ""


def _problem_of_size(size: int, total: int, count: int, lab: Lab) -> str:
    limits = lab.intake
    if size > limits.file_bytes:
        return (
            f"has {size / MIB:.0f} MiB; a file may have at most {limits.file_bytes / MIB:.0f} MiB"
        )
    if total + size > limits.total_bytes:
        return f"takes the submission over {limits.total_bytes / MIB:.0f} MiB in all"
    if count >= limits.files:
        return f"comes after {limits.files} others, and no more are read"
    return ""


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _above(path: str) -> list[str]:
    return [str(folder) for folder in PurePosixPath(path).parents if str(folder) != "."]


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _depth(path: str) -> int:
    return path.count("/")
