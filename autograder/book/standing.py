"""The totals of a class as they stand: from evidence and decisions, running nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autograder import evidence
from autograder.book import decisions
from autograder.book.totals import Total, total_of
from autograder.collecting import receipts
from autograder.lab import Lab
from autograder.records import Refusal
from autograder.regrade import regrade


@dataclass(frozen=True)
class Standing:
    totals: tuple[Total, ...]  # by student
    unreadable: tuple[Refusal, ...]


def standing(lab: Lab, out: Path) -> Standing:
    """
    Raises:
        FileNotFoundError: nothing was graded into `out`.
        OtherLab: the evidence is of another lab.
        BadDecision: a decision names what the lab does not grade, or gives too many points.
        BrokenLog: the log of decisions does not hold together.
    """
    found, decided = regrade(lab, out), decisions.read(out)
    totals = [total_of(lab, evidence.read(path), v, decided) for path, v in found.verdicts]
    return Standing(tuple(sorted(totals, key=lambda each: each.student)), found.unreadable)


def platform_ids(submissions: Path) -> Mapping[str, str]:
    """By student, what a learning platform calls them, as the newest receipt says."""
    return {each.student: each.platform_id for each in receipts.read(submissions)}
