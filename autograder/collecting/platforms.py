"""Whose a file is, by the names that learning platforms give to what students handed in.

Source  Canvas, "Download Submissions": NAME[_LATE]_USER_ATTACHMENT_FILE in one folder, -1, -2 ...
        before the ending of a file that was handed in again. Moodle, "Download all submissions":
        NAME_PARTICIPANT_assignsubmission_file_/FILE. nbgrader's exchange:
        STUDENT+ASSIGNMENT+TIME[+RANDOM]/FILE in COURSE/inbound, with times as
        "2027-03-01 22:59:00.000000 UTC".
"""

import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from autograder.intake import STUDENT

Platform = Literal["canvas", "moodle", "nbgrader", "folder"]
_CANVAS = re.compile(r"(?P<name>[^_/]+)(?P<late>_LATE)?_(?P<id>\d+)_(?P<file>\d+)_(?P<path>[^/]+)")
_MOODLE = re.compile(r"(?P<name>[^/]+)_(?P<id>\d+)_assignsubmission_file_?/(?P<path>.+)")
_EXCHANGE = re.compile(
    r"(?P<name>[^+/]+)\+(?P<lab>[^+/]+)\+(?P<time>[^+/]+)(\+[^/]*)?/(?P<path>.+)"
)
_RESUBMITTED = re.compile(r"-\d+(?=\.[^.]*$)")
_EXCHANGE_TIME = "%Y-%m-%d %H:%M:%S.%f"


@dataclass(frozen=True)
class Handed:
    """One file of one student, as a platform's name tells it."""

    student: str  # a name that intake accepts
    path: str  # of the file, as the student called it
    platform_id: str = ""  # of the student there
    received_at: str = ""  # ISO 8601, where the name says it
    late: bool = False  # the platform says so
    attempt: str = ""  # what tells two attempts of one student apart; later ones sort later


def told_apart(paths: Collection[str], lab: str, notebooks: Collection[str]) -> Platform:
    """The platform whose names these are: that of most files, `folder` if of none.

    Args:
        paths: of files, below what was downloaded.
        lab: the lab's folder, as nbgrader calls the assignment.
        notebooks: names with .ipynb.
    """
    counts = {
        platform: sum(read(platform, path, lab, notebooks) is not None for path in paths)
        for platform in READERS
    }
    best = max(counts, key=lambda platform: counts[platform])
    return best if 2 * counts[best] > len(paths) else "folder"


def read(platform: Platform, path: str, lab: str, notebooks: Collection[str]) -> Handed | None:
    """None where the name is none that this platform gives, or is of another assignment."""
    return READERS[platform](path, lab, notebooks)


def _name(said: str) -> str:
    """A name that intake accepts and no other student has; empty where nothing is left of it."""
    folded = unicodedata.normalize("NFKD", said).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._@+-]+", "-", folded).lstrip("._@+-")
    return name if STUDENT.fullmatch(name) else ""


def _canvas(path: str, lab: str, notebooks: Collection[str]) -> Handed | None:
    match = _CANVAS.fullmatch(path.rpartition("/")[2])
    if match is None:
        return None
    student = _name(f"{match['name']}_{match['id']}")
    own = match["path"]
    plain = _RESUBMITTED.sub("", own)
    own = plain if own not in notebooks and plain in notebooks else own
    return Handed(student, own, match["id"], late=match["late"] is not None) if student else None


def _moodle(path: str, lab: str, notebooks: Collection[str]) -> Handed | None:
    match = _MOODLE.fullmatch(path)
    if match is None:
        return None
    student = _name(f"{match['name']}_{match['id']}")
    return Handed(student, match["path"], match["id"]) if student else None


def _exchange(path: str, lab: str, notebooks: Collection[str]) -> Handed | None:
    match = _EXCHANGE.fullmatch(path)
    if match is None or match["lab"] != lab:
        return None
    moment, _, zone = match["time"].rpartition(" ")
    try:
        time = datetime.strptime(moment, _EXCHANGE_TIME)
    except ValueError:
        return None
    student = _name(match["name"])
    received_at = time.isoformat(timespec="seconds") + "+00:00" if zone == "UTC" else ""
    if not student:
        return None
    return Handed(student, match["path"], match["name"], received_at, attempt=match["time"])


def _folder(path: str, lab: str, notebooks: Collection[str]) -> Handed | None:
    """STUDENT/FILE, or STUDENT.zip."""
    name, slash, rest = path.partition("/")
    if not slash and name.lower().endswith(".zip"):
        name, rest = name[: -len(".zip")], name
    return Handed(name, rest) if rest and STUDENT.fullmatch(name) else None


READERS: dict[Platform, Callable[[str, str, Collection[str]], Handed | None]] = {
    "canvas": _canvas,
    "moodle": _moodle,
    "nbgrader": _exchange,
    "folder": _folder,
}
