"""A student's total in one lab: (verdict, decisions, lateness) -> Total. Pure.

    line      the grader's points, unless a person overrode them
    answer    a person's points for a written answer; pending until there are some
    points    (lines + answers) (1 - share lost for lateness)

A total is provisional while a check is open or an answer unread. What is open or unread adds
nothing and is counted nowhere as zero.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from autograder.book.decisions import Decision
from autograder.book.lateness import Lateness, lateness
from autograder.lab import Lab
from autograder.records import Check, Evidence, HandGraded, Outcome, Verdict

Source = Literal["grader", "person"]


class BadDecision(ValueError):
    """A decision names nothing that the lab grades, or gives more points than there are."""


@dataclass(frozen=True)
class Line:
    """One check or written answer, with the points that count for it."""

    name: str  # NOTEBOOK/ID, or a metric
    points: float | None  # None: open, or not read yet
    of: int
    source: Source  # whose points these are
    written: bool  # an answer that only a person can grade
    note: str  # the grader's words, or the person's reason
    by: str = ""  # the person
    outcome: Outcome | None = None  # the grader's, of a check


@dataclass(frozen=True)
class Comment:
    """Words of a person for the student."""

    about: str  # as in Line.name; empty: the submission
    by: str
    at: str
    text: str


@dataclass(frozen=True)
class Total:
    student: str
    lab: str  # folder
    lines: tuple[Line, ...]
    comments: tuple[Comment, ...]
    lateness: Lateness | None

    @property
    def earned(self) -> float:
        """Before lateness."""
        return sum(line.points for line in self.lines if line.points is not None)

    @property
    def late_loss(self) -> float:
        return self.earned * self.lateness.share_lost if self.lateness else 0.0

    @property
    def points(self) -> float:
        return self.earned - self.late_loss

    @property
    def of(self) -> int:
        return sum(line.of for line in self.lines)

    @property
    def open_points(self) -> int:
        """Of checks that we owe the student."""
        return sum(line.of for line in self.lines if line.points is None and not line.written)

    @property
    def unread_points(self) -> int:
        """Of written answers that nobody has read."""
        return sum(line.of for line in self.lines if line.points is None and line.written)

    @property
    def provisional(self) -> bool:
        return bool(self.open_points or self.unread_points)


def total(
    student: str,
    lab: str,
    verdict: Verdict,
    decisions: Iterable[Decision] = (),
    late: Lateness | None = None,
) -> Total:
    """
    Raises:
        BadDecision: about this student.
    """
    own = [each for each in decisions if each.student == student]
    lines = [
        *(_check(check, own) for check in verdict.checks),
        *(_answer(cell, own) for cell in verdict.by_hand),
    ]
    known = {line.name for line in lines}
    for each in own:
        if each.about not in known | {""}:
            raise BadDecision(
                f"{each.by} decided on {each.about!r} of {student}, which the lab does not grade; "
                f"there are {', '.join(sorted(known))}"
            )
    comments = [Comment(e.about, e.by, e.at, e.reason) for e in own if e.kind == "comment"]
    return Total(student, lab, tuple(lines), tuple(comments), late)


def total_of(
    lab: Lab, evidence: Evidence, verdict: Verdict, decisions: Iterable[Decision] = ()
) -> Total:
    """The total of one graded submission.

    Raises:
        BadDecision: as `total`.
    """
    submission = evidence.submission
    late = lateness(lab, submission.student, submission.handed_in_at)
    return total(submission.student, lab.folder, verdict, decisions, late)


def answer_name(cell: HandGraded) -> str:
    """What a decision calls a written answer."""
    return f"{cell.notebook}/{cell.id}"


def _check(check: Check, own: Sequence[Decision]) -> Line:
    decided = _last(own, check.name, check.of, "override")
    if decided is None:
        return Line(
            check.name, check.points, check.of, "grader", False, check.note, outcome=check.outcome
        )
    return Line(
        check.name,
        decided.points,
        check.of,
        "person",
        False,
        decided.reason,
        decided.by,
        check.outcome,
    )


def _answer(cell: HandGraded, own: Sequence[Decision]) -> Line:
    name = answer_name(cell)
    decided = _last(own, name, cell.points, "hand", "override")
    if decided is None:
        return Line(name, None, cell.points, "person", True, "")
    return Line(name, decided.points, cell.points, "person", True, decided.reason, decided.by)


def _last(own: Sequence[Decision], name: str, of: int, *kinds: str) -> Decision | None:
    found = [each for each in own if each.about == name and each.kind in kinds]
    if found and found[-1].points is not None and found[-1].points > of:
        raise BadDecision(
            f"{found[-1].by} gave {found[-1].points:g} points for {name} of {found[-1].student}, "
            f"which is worth {of}"
        )
    return found[-1] if found else None
