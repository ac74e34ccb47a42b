"""From a platform's download to one folder or zip per student, every attempt kept."""

import csv
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from autograder import folders, zips
from autograder.collecting import platforms, receipts
from autograder.collecting.platforms import Handed, Platform
from autograder.collecting.receipts import Receipt
from autograder.files import alone_in
from autograder.lab import Lab
from autograder.offered import Offered, Source
from autograder.records import Finding
from autograder.shown import shown

ATTEMPTS = ".attempts"
SAFE_PART = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f]{1,200}")


class CannotCollect(ValueError):
    """Where to collect from holds nothing that can be collected. The message says what it holds."""


@dataclass(frozen=True)
class Collected:
    platform: Platform
    new: tuple[Receipt, ...]
    known: int  # attempts that were collected before
    left: tuple[Finding, ...]  # files that were not taken, and why


@dataclass(frozen=True)
class _Attempt:
    """What one student handed in at one time."""

    student: str
    files: tuple[tuple[Offered, Handed], ...]

    @property
    def handed(self) -> Handed:
        return self.files[-1][1]

    @property
    def is_one_zip(self) -> bool:
        return len(self.files) == 1 and self.handed.path.lower().endswith(".zip")


@dataclass(frozen=True)
class _Session:
    source: Source
    lab: Lab
    into: Path
    platform: Platform
    times: Mapping[str, str]  # by platform id or student


def collect(
    lab: Lab,
    where: Path,
    into: Path,
    platform: Platform | None = None,
    times: Mapping[str, str] | None = None,
    tell: Callable[[int, int, str], None] = lambda done, of, student: None,
) -> Collected:
    """Take what students handed in; what was taken before is not taken twice.

    Args:
        where: the platform's zip, the unpacked zip, an exchange's inbound folder, or a folder with
            one folder or zip per student. It is only read.
        into: what `course grade` takes afterwards.
        platform: None tells it by the names of the files.
        times: when submissions were received, by platform id or student (`read_times`).

    Raises:
        CannotCollect: nothing there looks like a submission.
        AlreadyGrading: another process collects into the same folder.
    """
    names = {f"{name}.ipynb" for name in lab.notebooks}
    with closing(_opened(where)) as source, alone_in(into):
        offered, left = source.offered()
        offered = _with_students(offered, source)
        paths = [item.path for item in offered]
        platform = platform or platforms.told_apart(paths, lab.folder, names)
        session = _Session(source, lab, into, platform, times or {})
        attempts, strange = _attempts(offered, session, names)
        if not attempts:
            raise CannotCollect(_nothing(where, platform, lab, paths))
        new, known = _taken(attempts, session, tell)
    return Collected(platform, tuple(new), known, (*left, *strange))


def read_times(path: Path) -> dict[str, str]:
    """When submissions were received, from a CSV with the columns `id` and `received_at`.

    Raises:
        CannotCollect: a column is missing, or a time is no ISO 8601 with its zone.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if missing := {"id", "received_at"} - set(rows.fieldnames or ()):
            raise CannotCollect(
                f"{path} lacks the columns {', '.join(sorted(missing))}; it has "
                f"{', '.join(rows.fieldnames or ['none'])}"
            )
        return {row["id"]: _moment(row["received_at"], path, rows.line_num) for row in rows}


def _moment(said: str, path: Path, line: int) -> str:
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise CannotCollect(
            f"{path}, line {line}: {said!r} is no time with its zone; expected one such as "
            "2027-03-01T23:59:00+01:00"
        )
    return said


def _opened(where: Path) -> Source:
    try:
        return zips.Zip(where) if where.is_file() else folders.Folder(where, set())
    except (zips.NotAZip, folders.NotAFolder) as problem:
        raise CannotCollect(f"{where} is {problem}") from problem


def _with_students(offered: Sequence[Offered], source: Source) -> list[Offered]:
    """Paths as they are in a zip of one student, whose folder looks like the zip's own."""
    top = source.folder if isinstance(source, zips.Zip) else ""
    loose = any("/" not in each.path and not each.path.endswith(".zip") for each in offered)
    if not (top and loose):
        return list(offered)
    return [replace(each, path=top + each.path) for each in offered]


def _attempts(
    offered: Sequence[Offered], session: _Session, names: set[str]
) -> tuple[list[_Attempt], list[Finding]]:
    """Oldest attempts of a student first."""
    found: dict[tuple[str, str], list[tuple[Offered, Handed]]] = {}
    strange = []
    for item in offered:
        handed = platforms.read(session.platform, item.path, session.lab.folder, names)
        problem = item.problem or ("" if handed else f"has no name that {session.platform} gives")
        if handed and not all(SAFE_PART.fullmatch(part) for part in handed.path.split("/")):
            problem = problem or "has a name that leaves its folder"
        if handed is None or problem:
            strange.append(Finding(shown(item.path), f"This file {problem}, and was left."))
            continue
        found.setdefault((handed.student, handed.attempt), []).append((item, handed))
    attempts = [_Attempt(student, tuple(files)) for (student, _), files in sorted(found.items())]
    return attempts, strange


def _taken(
    attempts: Sequence[_Attempt], session: _Session, tell: Callable[[int, int, str], None]
) -> tuple[list[Receipt], int]:
    key, before = receipts.key_of(session.into), receipts.read(session.into)
    new, known = list[Receipt](), 0
    for done, attempt in enumerate(attempts):
        tell(done, len(attempts), attempt.student)
        own = [each for each in [*before, *new] if each.student == attempt.student]
        fresh = _fresh(attempt, own, session)
        if fresh is None:
            known += 1
            continue
        receipt = receipts.sealed(fresh, key)
        receipts.append(receipt, session.into)
        new.append(receipt)
    for student in {attempt.student for attempt in attempts}:
        own = [each for each in [*before, *new] if each.student == student]
        _put_in_place(max(own, key=_order), session.into)
    return new, known


def _fresh(attempt: _Attempt, own: Sequence[Receipt], session: _Session) -> Receipt | None:
    """The attempt's receipt, without its seal, once its files are kept; None if they were."""
    number = max((each.number for each in own), default=0) + 1
    kept = session.into / ATTEMPTS / attempt.student / str(number)
    shutil.rmtree(kept, ignore_errors=True)  # of a collection that was killed
    _write(attempt, kept, session.source)
    inner = _content(kept)
    content = receipts.content_of(inner)
    if any(each.sha256 == content for each in own):
        shutil.rmtree(kept)
        return None
    handed = attempt.handed
    said = session.times.get(handed.platform_id) or session.times.get(attempt.student)
    return Receipt(
        student=attempt.student,
        lab=session.lab.folder,
        number=number,
        sha256=content,
        size_bytes=sum(each.stat().st_size for each in kept.rglob("*") if each.is_file()),
        files=len(attempt.files),
        received_at=said or handed.received_at,
        collected_at=datetime.now(UTC).isoformat(timespec="seconds"),
        source=session.platform,
        platform_id=handed.platform_id,
        late=any(each.late for _, each in attempt.files),
    )


def _write(attempt: _Attempt, kept: Path, source: Source) -> None:
    for item, handed in attempt.files:
        name = f"{attempt.student}.zip" if attempt.is_one_zip else f"files/{handed.path}"
        target = kept / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(source.read(item), target)


def _copy(parts: Iterable[bytes] | Iterator[bytes], target: Path) -> None:
    with target.open("wb") as sink:
        for part in parts:
            sink.write(part)


def _content(kept: Path) -> Path:
    """What the attempt is, below the folder that it is kept in: a zip or a folder."""
    return next(kept.glob("*.zip"), kept / "files")


def _order(receipt: Receipt) -> tuple[str, int]:
    at = receipt.received_at or receipt.collected_at
    return datetime.fromisoformat(at).astimezone(UTC).isoformat(), receipt.number


def _put_in_place(receipt: Receipt, into: Path) -> None:
    """The attempt that counts as INTO/STUDENT or INTO/STUDENT.zip, whole or as it was before."""
    content = _content(into / ATTEMPTS / receipt.student / str(receipt.number))
    folder, archive = into / receipt.student, into / f"{receipt.student}.zip"
    target, other = (archive, folder) if content.is_file() else (folder, archive)
    partial_path = into / f".{receipt.student}.partial"
    _removed(partial_path)
    copy = shutil.copyfile if content.is_file() else partial(shutil.copytree, symlinks=True)
    copy(content, partial_path)
    _removed(other)
    if target.is_dir():
        shutil.rmtree(target)
    partial_path.replace(target)


def _removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _nothing(where: Path, platform: Platform, lab: Lab, paths: Sequence[str]) -> str:
    holds = ", ".join(shown(path, 60) for path in paths[:3]) or "no files"
    return (
        f"{where} holds nothing that was handed in for {lab.folder}: read as {platform}, with "
        f"{holds}. Give the zip that Canvas or Moodle downloads, an nbgrader exchange's inbound "
        "folder, or a folder with one folder or zip per student; --from names the platform."
    )
