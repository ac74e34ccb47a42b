"""Room 1: a private copy of what was handed in, sealed by its hashes. Opens and runs nothing.

Links and special files are not followed; names that could leave the folder, and files over the
lab's size, are set aside with a finding; everything else is graded. What was handed in stays
where it is: intake only ever reads it.
"""

import hashlib
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from autograder.lab import MIB, Lab
from autograder.records import Finding, Refusal, SealedFile, Submission

CHUNK = 1024**2
STUDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
MAX_DEPTH = 8


@dataclass(frozen=True)
class Offered:
    """One file of a folder or zip, not yet read."""

    path: str
    size_bytes: int
    problem: str = ""  # why it must not be read; empty if it may be


def seal(path: Path, lab: Lab, vault: Path) -> Submission | Refusal:
    """Copy a submission's files into the vault, file by file and within the lab's limits.

    Args:
        path: a folder, or a zip file; its name without `.zip` is the student's.
        vault: where the private copy is made, in a folder of the student's name.
    """
    student = student_of(path)
    if not STUDENT.fullmatch(student):
        reason = f"{student!r} cannot be a student's name; use letters, digits and any of ._@+-"
        return Refusal(student, reason)
    root = vault / student
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    if path.is_symlink() or not (path.is_dir() or path.is_file()):
        return Refusal(student, f"{path.name} is a link or does not exist; hand in a folder or zip")
    if path.is_dir():
        return _sealed(student, lab, root, *_from_folder(path, lab, root))
    try:
        with zipfile.ZipFile(path) as archive:
            return _sealed(student, lab, root, *_from_zip(archive, lab, root))
    except Exception as error:  # zipfile lets several types through on a damaged directory
        reason = (
            f"{path.name} is not a zip file that can be opened ({error}). Pack the notebooks "
            "again, without a password, and hand the zip in once more."
        )
        return Refusal(student, reason)


def student_of(path: Path) -> str:
    """The name of a folder, or of a zip without its ending."""
    return path.stem if path.suffix.lower() == ".zip" else path.name


def _sealed(
    student: str, lab: Lab, root: Path, files: list[SealedFile], findings: list[Finding]
) -> Submission:
    listing = "\n".join(f"{file.path} {file.size_bytes} {file.sha256}" for file in files)
    return Submission(
        student=student,
        lab=lab.folder,
        root=root,
        files=tuple(files),
        findings=tuple(findings),
        receipt=hashlib.sha256(listing.encode()).hexdigest(),
        received_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _from_folder(folder: Path, lab: Lab, root: Path) -> tuple[list[SealedFile], list[Finding]]:
    offered = sorted(_walk(folder, folder, 0), key=lambda o: o.path)
    files, findings = [], list[Finding]()
    for item in _within_limits(offered, lab, findings):
        # O_NOFOLLOW and the check on the open file: what was a file may have become a link.
        try:
            descriptor = os.open(folder / item.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as source:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    files.append(_copy(source, item.path, lab, root))
        except OSError as error:
            findings.append(_unreadable(item.path, error))
    return files, findings


def _walk(folder: Path, top: Path, depth: int) -> Iterator[Offered]:
    for entry in os.scandir(folder):
        path = str(PurePosixPath(Path(entry.path).relative_to(top)))
        if entry.is_dir(follow_symlinks=False) and depth < MAX_DEPTH:
            if not _ignored(entry.name):
                yield from _walk(Path(entry.path), top, depth + 1)
            continue
        mode = entry.stat(follow_symlinks=False)
        problem = "" if stat.S_ISREG(mode.st_mode) else "is a link or a special file"
        yield Offered(path, mode.st_size, problem)


def _from_zip(
    archive: zipfile.ZipFile, lab: Lab, root: Path
) -> tuple[list[SealedFile], list[Finding]]:
    members = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    prefix = _common_folder(list(members))
    offered = [_offered_member(info, prefix) for info in members.values()]
    files, findings = [], list[Finding]()
    for item in _within_limits(offered, lab, findings):
        try:
            with archive.open(prefix + item.path) as source:
                files.append(_copy(source, item.path, lab, root))  # type: ignore[arg-type]
        except Exception as error:  # each compression raises its own on damaged bytes
            findings.append(_unreadable(item.path, error))
    return files, findings


def _offered_member(info: zipfile.ZipInfo, prefix: str) -> Offered:
    mode = info.external_attr >> 16
    problem = ""
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        problem = "is a link or a special file"
    return Offered(info.filename.removeprefix(prefix), info.file_size, problem)


def _common_folder(names: list[str]) -> str:
    """The one folder that a zip made from a folder begins with, or nothing."""
    tops = {name.split("/")[0] for name in names if not name.startswith("__MACOSX/")}
    if len(tops) == 1 and all("/" in name for name in names) and tops.isdisjoint({"", ".."}):
        return tops.pop() + "/"
    return ""


def _within_limits(offered: list[Offered], lab: Lab, findings: list[Finding]) -> Iterator[Offered]:
    """The files that may be read; a finding for each that may not."""
    limits, total, count = lab.intake, 0, 0
    for item in offered:
        if any(_ignored(part) for part in item.path.split("/")):
            continue
        problem = item.problem or _problem_of_name(item.path)
        if not problem and item.size_bytes > limits.file_bytes:
            size, limit = item.size_bytes / MIB, limits.file_bytes / MIB
            problem = f"has {size:.0f} MiB; a file may have at most {limit:.0f} MiB"
        if not problem and total + item.size_bytes > limits.total_bytes:
            problem = f"takes the submission over {limits.total_bytes / MIB:.0f} MiB in all"
        if not problem and count == limits.files:
            problem = f"comes after {limits.files} others, and no more are read"
        if problem:
            message = f"This file {problem}. It was set aside, and the rest was graded."
            findings.append(Finding(item.path[:200], message))
            continue
        total, count = total + item.size_bytes, count + 1
        yield item


def _unreadable(path: str, error: Exception) -> Finding:
    message = f"This file could not be read ({error}). It was set aside, and the rest was graded."
    return Finding(path[:200], message)


def _problem_of_name(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or "" in parts or "\\" in path or len(path) > 255:
        return "has a name that leaves its folder or is too long"
    if not path.isprintable():
        return "has a name with unprintable characters"
    return ""


def _ignored(part: str) -> bool:
    """Folders that editors and archivers add; they are neither graded nor worth a finding."""
    return part in ("__MACOSX", ".ipynb_checkpoints", "__pycache__", ".DS_Store")


def _copy(source: BinaryIO, path: str, lab: Lab, root: Path) -> SealedFile:
    """Copy at most the lab's limit: what a zip declares as a size need not be true."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as sink:
        while size <= lab.intake.file_bytes and (part := source.read(CHUNK)):
            sink.write(part)
            digest.update(part)
            size += len(part)
    if size > lab.intake.file_bytes:
        with suppress(FileNotFoundError):
            target.unlink()
        raise RuntimeError(f"{path} unpacks to more than it declares")
    return SealedFile(path, size, digest.hexdigest())
