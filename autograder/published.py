"""What was published: every student's points, and by which numbers they came about.

It lies beside the reports, so that a regrade can say who would change, by how much and why, before
anything changes.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from autograder.files import write_whole
from autograder.records import Check, Verdict

FILE = "published.json"


@dataclass(frozen=True)
class PublishedCheck:
    points: float | None  # None: not graded
    of: int
    outcome: str
    full: float | None = None  # of its threshold; None for exercises
    none: float | None = None
    measured: float | None = None


@dataclass(frozen=True)
class Published:
    student: str
    graded_at: str  # of the evidence, ISO 8601
    points: float
    of: int
    checks: dict[str, PublishedCheck]

    @classmethod
    def of_verdict(cls, student: str, graded_at: str, verdict: Verdict) -> "Published":
        checks = {check.name: _published(check) for check in verdict.checks}
        return cls(student, graded_at, verdict.points, verdict.of, checks)


@dataclass(frozen=True)
class Change:
    """One student whose grade is not what was published."""

    student: str
    before: float | None  # points; None: nothing was published
    after: float
    reasons: tuple[str, ...]  # one per check that changed, in words


_ADAPTER = TypeAdapter(dict[str, Published])


def read(out: Path) -> dict[str, Published]:
    """By student; empty if nothing was published.

    Raises:
        ValueError: the file is none that `write` makes.
    """
    path = out / FILE
    if not path.is_file():
        return {}
    return _ADAPTER.validate_json(path.read_text(encoding="utf-8"))


def write(published: Iterable[Published], out: Path) -> None:
    by_student = {each.student: each for each in published}
    document = json.dumps(_ADAPTER.dump_python(by_student, mode="json"), indent=1, allow_nan=False)
    write_whole(document + "\n", out / FILE)


def changes(before: Mapping[str, Published], after: Iterable[Published]) -> list[Change]:
    """Who differs, the largest change first."""
    found = []
    for new in after:
        old = before.get(new.student)
        if old is None:
            found.append(Change(new.student, None, new.points, ("not published before",)))
        elif reasons := _reasons(old, new):
            found.append(Change(new.student, old.points, new.points, reasons))
    return sorted(found, key=lambda change: -abs(change.after - (change.before or 0.0)))


def _published(check: Check) -> PublishedCheck:
    value = check.measurement.value if check.measurement else None
    return PublishedCheck(
        points=check.points,
        of=check.of,
        outcome=check.outcome.value,
        full=check.threshold.full if check.threshold else None,
        none=check.threshold.none if check.threshold else None,
        measured=value.value if value else None,
    )


def _reasons(old: Published, new: Published) -> tuple[str, ...]:
    reasons = []
    for name in dict.fromkeys([*old.checks, *new.checks]):
        was, now = old.checks.get(name), new.checks.get(name)
        if was and now and _worth(was) == _worth(now):
            continue
        if was is None or now is None:
            reasons.append(f"{name}: {'new' if was is None else 'no longer graded'}")
        else:
            reasons.append(f"{name}: {_worth(was)} to {_worth(now)}{_why(was, now)}")
    return tuple(reasons)


def _worth(check: PublishedCheck) -> str:
    return "open" if check.points is None else f"{check.points:.1f} of {check.of}"


def _why(was: PublishedCheck, now: PublishedCheck) -> str:
    if (was.full, was.none) != (now.full, now.none):
        return (
            f", because full points were at {was.full:g} and none at {was.none:g}, and are at "
            f"{now.full:g} and {now.none:g} now"
        )
    if was.measured != now.measured:
        return ", because it was measured again"
    if was.of != now.of:
        return ", because it is worth something else now"
    return ", because of what it needs or is held to"
