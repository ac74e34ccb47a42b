"""Receipts: what came from whom and when, sealed with a key that the course's machine alone has.

A receipt says which bytes were there at which time. Its seal is an HMAC-SHA256 over its fields, so
a student can show it and an instructor can tell it from one that was made up; and what was changed
after it was collected no longer fits its receipt.
"""

import hashlib
import hmac
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from autograder.files import secret_at
from autograder.records import Finding, Submission

FILE, KEY = ".receipts.jsonl", ".key"
KEY_BYTES = 32
CHUNK_BYTES = 1024**2


@dataclass(frozen=True)
class Receipt:
    """One attempt of one student."""

    student: str
    lab: str  # folder
    number: int  # of the attempt, from 1
    sha256: str  # of what was handed in: content_of(path)
    size_bytes: int
    files: int
    received_at: str  # ISO 8601, by the platform; empty where it does not say
    collected_at: str  # ISO 8601, UTC, by this machine
    source: str  # platform
    platform_id: str  # of the student there
    late: bool  # the platform says so
    seal: str = ""  # HMAC-SHA256 of the rest, with the course's key


class BrokenReceipts(ValueError):
    """The file of receipts cannot be read."""


_ADAPTER = TypeAdapter(Receipt)


def key_of(folder: Path) -> bytes:
    """The course's key for what is collected into `folder`; made on first use, for us alone."""
    return secret_at(folder / KEY, KEY_BYTES)


def sealed(receipt: Receipt, key: bytes) -> Receipt:
    return replace(receipt, seal=_seal(receipt, key))


def is_genuine(receipt: Receipt, key: bytes) -> bool:
    return hmac.compare_digest(receipt.seal, _seal(receipt, key))


def read(folder: Path) -> list[Receipt]:
    """All receipts, oldest first; none if nothing was collected.

    Raises:
        BrokenReceipts: a line is no receipt.
    """
    path = folder / FILE
    found = []
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_ADAPTER.validate_json(line))
        except ValidationError as error:
            raise BrokenReceipts(f"{path}, line {number} is no receipt: {error}") from error
    return found


def append(receipt: Receipt, folder: Path) -> None:
    with (folder / FILE).open("a", encoding="utf-8") as sink:
        sink.write(json.dumps(asdict(receipt), allow_nan=False) + "\n")
        sink.flush()
        os.fsync(sink.fileno())


def content_of(path: Path) -> str:
    """A sha256 of a file's bytes, or of the names and bytes of all files in a folder."""
    if path.is_file():
        return _sha256(path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    listing = "\n".join(f"{each.relative_to(path).as_posix()} {_sha256(each)}" for each in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def receipt_for(path: Path) -> Receipt | None:
    """The genuine receipt of what lies in a folder of collected submissions.

    Args:
        path: INTO/STUDENT or INTO/STUDENT.zip, as `course grade` takes it.

    Returns:
        None if it was never collected, was changed since, or its receipt is not ours.
    """
    student = path.stem if path.suffix.lower() == ".zip" else path.name
    own = [receipt for receipt in read(path.parent) if receipt.student == student]
    if not own:
        return None
    key, content = key_of(path.parent), content_of(path)
    fitting = [each for each in own if each.sha256 == content and is_genuine(each, key)]
    return fitting[-1] if fitting else None


def with_time(submission: Submission, path: Path) -> Submission:
    """The sealed submission with the time that its receipt vouches for, if it has one.

    Args:
        path: where it was sealed from.
    """
    if not any(each.student == submission.student for each in read(path.parent)):
        return submission
    receipt = receipt_for(path)
    if receipt is None:
        message = "This is not what was collected: it was changed since. No time is known for it."
        finding = Finding("the submission", message)
        return replace(submission, findings=(*submission.findings, finding))
    if receipt.late and not receipt.received_at:
        message = (
            f"{receipt.source} marks this as late and does not say by how much. Nothing was "
            "subtracted; your instructor decides."
        )
        finding = Finding("the submission", message)
        return replace(submission, findings=(*submission.findings, finding))
    return replace(submission, handed_in_at=receipt.received_at)


def _seal(receipt: Receipt, key: bytes) -> str:
    fields = asdict(replace(receipt, seal=""))
    return hmac.digest(key, json.dumps(fields, sort_keys=True).encode(), "sha256").hex()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(CHUNK_BYTES):
            digest.update(part)
    return digest.hexdigest()
