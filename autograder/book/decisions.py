"""What people decide about grades: an append-only log in which every line seals the one before.

`OUT/decisions.jsonl` holds one decision a line, oldest first. The last one about a check counts;
none is ever removed, so that the log says how a grade came about. Each line carries the sha256 of
the line before it: who edits the past breaks every seal after it, and `read` names the line.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

FILE = "decisions.jsonl"
Kind = Literal["hand", "override", "comment"]


@dataclass(frozen=True)
class Decision:
    """One decision of one person."""

    at: str  # ISO 8601, UTC
    by: str
    student: str
    kind: Kind  # points for a written answer; points instead of the grader's; words alone
    about: str  # a check or a written answer as NOTEBOOK/ID, a metric; empty: the submission
    points: float | None  # None exactly for comments
    reason: str  # a comment's words; why points were overridden; may be empty for written answers

    def __post_init__(self) -> None:
        if (self.points is None) != (self.kind == "comment"):
            raise ValueError(f"a {self.kind} with {self.points} points contradicts itself")
        if self.points is not None and not (math.isfinite(self.points) and self.points >= 0):
            raise ValueError(f"points must be 0 or more, got {self.points}")
        if self.kind != "hand" and not self.reason.strip():
            raise ValueError(f"a {self.kind} needs a reason, for the student and for the log")
        if not self.by.strip() or not self.student:
            raise ValueError(f"a decision needs its author and its student, got {self}")


class BrokenLog(ValueError):
    """The log of decisions is torn or was edited."""


_ADAPTER = TypeAdapter(Decision)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def add(decisions: Sequence[Decision], out: Path) -> None:
    """Append to the log, under a lock: two people may decide at the same time.

    Raises:
        BrokenLog: the log so far does not hold together, so nothing is added to it.
    """
    path = out / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        read(out)
        lines = _lines(path)
        seal = _seal(lines[-1]) if lines else ""
        with path.open("a", encoding="utf-8") as sink:
            for each in decisions:
                line = json.dumps(asdict(each) | {"previous": seal}, allow_nan=False)
                sink.write(line + "\n")
                seal = _seal(line)


def read(out: Path) -> list[Decision]:
    """All decisions, oldest first; none if nobody has decided anything.

    Raises:
        BrokenLog: a line is none, or does not seal the one before it.
    """
    found, seal = [], ""
    for number, line in enumerate(_lines(out / FILE), start=1):
        try:
            document = json.loads(line)
            previous = document.pop("previous")
            decision = _ADAPTER.validate_python(document)
        except (ValueError, KeyError, AttributeError, ValidationError) as error:
            raise BrokenLog(f"{out / FILE}, line {number} is no decision: {error}") from error
        if previous != seal:
            raise BrokenLog(
                f"{out / FILE}, line {number} does not follow from line {number - 1}: the log was "
                "edited; restore it from a copy"
            )
        found.append(decision)
        seal = _seal(line)
    return found


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _seal(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()
