"""A class of submissions: what is handed in and has no settled evidence is the work list.

There is no queue and no state beside the evidence files, so a run that was killed goes on when it
is started again, and nobody is graded twice.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from autograder import evidence, grade
from autograder.grade import Grader
from autograder.intake import seal, student_of
from autograder.lab import Lab
from autograder.records import Evidence, Refusal, Submission, Verdict
from autograder.report import Graded, write_class_page, write_report
from autograder.sandbox import SandboxUnavailable
from autograder.verdict import decide

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassResult:
    graded: tuple[Graded, ...]
    refused: tuple[Refusal, ...]
    page: Path


def grade_class(
    submissions: Path, lab: Lab, prepare: Callable[[], Grader], out: Path, tell: grade.Tell
) -> ClassResult:
    """Grade what is not graded yet, then write every report and the class page.

    Args:
        submissions: a folder with one folder or zip per student.
        prepare: called only if there is something to grade; it measures the baseline.
    """
    once = cache(prepare)
    graded, refused = [], list[Refusal]()
    entries = handed_in(submissions)
    handed_in_by = Counter(student_of(path) for path in entries)
    for number, path in enumerate(entries, start=1):
        if handed_in_by[student := student_of(path)] > 1:
            reason = f"{path.name}: {student} handed in twice; leave one folder or zip of the name."
            refused.append(Refusal(student, reason))
            continue
        tell_place = partial(_tell_place, tell, number, len(entries))
        found = _known_or_graded(path, lab, once, out, tell_place)
        if isinstance(found, Refusal):
            refused.append(found)
        else:
            graded.append(Graded(found, decide(lab, found)))
    for item in graded:
        write_report(lab, item.evidence, item.verdict, out)
    page = write_class_page(lab, graded, refused, out)
    return ClassResult(tuple(graded), tuple(refused), page)


def _known_or_graded(
    path: Path, lab: Lab, prepare: Callable[[], Grader], out: Path, tell: grade.Tell
) -> Evidence | Refusal:
    """One submission may bring the grader down, but never the class run with it."""
    try:
        sealed = seal(path, lab, out / "sealed")
        if isinstance(sealed, Refusal):
            return sealed
        known = settled(sealed, lab, out)
    except Exception as error:
        return _our_fault(path, error)
    if known is not None:
        return known
    grader = prepare()
    try:
        return grade.grade(sealed, grader, out, tell)
    except SandboxUnavailable:
        raise  # holds for every submission: nobody can be graded
    except Exception as error:
        return _our_fault(path, error)


def _our_fault(path: Path, error: Exception) -> Refusal:
    log.exception("grading %s failed", path.name)
    reason = (
        f"The grader failed on this submission ({type(error).__name__}: {error}). That is our "
        "fault; nothing is lost, and the next run grades it again."
    )
    return Refusal(student_of(path), reason)


def _tell_place(tell: grade.Tell, number: int, count: int, what: str) -> None:
    tell(f"{number} of {count}, {what}")


def handed_in(submissions: Path) -> list[Path]:
    """One entry per student. What is no folder and no zip is refused later, with the reason."""
    return sorted(path for path in submissions.iterdir() if not path.name.startswith("."))


def settled(submission: Submission, lab: Lab, out: Path) -> Evidence | None:
    """The evidence of these very files, unless a check of it is still open."""
    path = grade.evidence_path(submission.student, out)
    if not path.is_file():
        return None
    try:
        known = evidence.read(path)
    except ValueError:
        return None  # written by another version of the grader, or cut off: graded again
    verdict: Verdict = decide(lab, known)
    same = known.submission.receipt == submission.receipt
    return known if same and not verdict.open else None
