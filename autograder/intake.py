"""Room 1: a private copy of what was handed in, sealed by its hashes. Opens and runs nothing.

Links and special files are not followed; what is ambiguous, too large or could leave its folder
is set aside with a finding; everything else is graded. What was handed in stays where it is:
intake only ever reads it. The copy is made beside its place and renamed, so that a grader that is
killed leaves the copy of before or none, and the next run seals again.
"""

import hashlib
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from autograder import folders, zips
from autograder.lab import MIB, Lab
from autograder.offered import Offered, Source, within_limits
from autograder.records import Finding, Refusal, SealedFile, Submission
from autograder.shown import capped, shown

STUDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")


class _TooLong(Exception):
    """A file has more bytes than it had when it was looked at, and than the lab allows."""


def seal(path: Path, lab: Lab, vault: Path, student: str = "") -> Submission | Refusal:
    """Copy a submission's files into the vault, file by file and within the lab's limits.

    Args:
        path: a folder, or a zip file.
        vault: where the private copy is made, in a folder of the student's name.
        student: whose it is; if empty, the path's name without `.zip`.
    """
    student = student or student_of(path)
    if not STUDENT.fullmatch(student):
        reason = f"{shown(student)!r} cannot be a student's name; use letters, digits and any of "
        return Refusal(student, reason + "._@+-, a letter or digit first, 100 at most")
    try:
        with closing(_source(path, lab)) as source:
            return _sealed(student, lab, vault, source)
    except (zips.NotAZip, folders.NotAFolder) as problem:
        reason = f"{path.name} is {problem}. Hand in the notebooks once more."
        return Refusal(student, reason)


def student_of(path: Path) -> str:
    """The name of a folder, or of a zip without its ending."""
    return path.stem if path.suffix.lower() == ".zip" else path.name


def _source(path: Path, lab: Lab) -> Source:
    """What was handed in, opened once: a path may lead elsewhere a moment later.

    Raises:
        NotAFolder, NotAZip: it is neither, or one that cannot be trusted as a whole.
    """
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise folders.NotAFolder(f"not there or not readable ({error})") from error
    if stat.S_ISDIR(mode):
        return folders.Folder(path, {f"{name}.ipynb" for name in lab.notebooks})
    if stat.S_ISREG(mode):
        return zips.Zip(path)
    raise folders.NotAFolder("a link or a special file; expected a folder or a zip file")


def _sealed(student: str, lab: Lab, vault: Path, source: Source) -> Submission:
    root, partial = vault / student, vault / f".{student}.partial"  # no student begins with a dot
    shutil.rmtree(partial, ignore_errors=True)  # of a grader that was killed
    partial.mkdir(parents=True)
    offered, findings = source.offered()
    accepted, refused = within_limits(offered, lab)
    files, unreadable = _copied(accepted, source, lab, partial)
    _take_place(partial, root)
    return Submission(
        student=student,
        lab=lab.folder,
        root=root,
        files=tuple(files),
        findings=capped([*findings, *refused, *unreadable], "the submission"),
        receipt=receipt_of(files),
        received_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def receipt_of(files: Sequence[SealedFile]) -> str:
    """A sha256 over names, sizes and hashes, in the order in which they were sealed."""
    listing = "\n".join(f"{file.path} {file.size_bytes} {file.sha256}" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def _take_place(partial: Path, root: Path) -> None:
    """The whole new copy in the place of the old one, which is never there in half."""
    old = root.with_name(f".{root.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    with suppress(FileNotFoundError):
        root.rename(old)
    partial.rename(root)
    shutil.rmtree(old, ignore_errors=True)


def _copied(
    accepted: Sequence[Offered], source: Source, lab: Lab, root: Path
) -> tuple[list[SealedFile], list[Finding]]:
    """The files in the order of their paths, which a folder and a zip of it share."""
    files, findings, left = [], list[Finding](), lab.intake.total_bytes
    for item in accepted:
        limit = min(left, lab.intake.file_bytes)
        try:
            sealed = _copy(source.read(item), item.path, limit, root)
        except _TooLong:
            why = f"has more than the {limit / MIB:.0f} MiB that may be; it grew while it was read"
            findings.append(item.set_aside(why))
        except (OSError, folders.Unfit, zips.Damaged) as error:
            why = f"could not be read ({error})" if isinstance(error, OSError) else str(error)
            findings.append(item.set_aside(why))
        else:
            left -= sealed.size_bytes
            files.append(sealed)
    return sorted(files, key=lambda file: file.path), findings


def _copy(parts: Iterator[bytes], path: str, limit: int, root: Path) -> SealedFile:
    """Counts bytes as they come: what a file or an archive declares need not be true."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    try:
        with target.open("xb") as sink:
            for part in parts:
                size += len(part)
                if size > limit:
                    raise _TooLong
                sink.write(part)
                digest.update(part)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return SealedFile(path, size, digest.hexdigest())
