"""A class of submissions: what is handed in and has no settled evidence is the work list.

There is no queue and no state beside the evidence files, so a run that was killed goes on when it
is started again, and nobody is graded twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autograder import evidence, grade
from autograder.grade import Grader
from autograder.intake import seal
from autograder.lab import Lab
from autograder.records import Evidence, Refusal, Submission, Verdict
from autograder.report import Graded, write_class_page, write_report
from autograder.verdict import decide


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
    grader: Grader | None = None
    graded, refused = [], []
    for path in handed_in(submissions):
        sealed = seal(path, lab, out / "sealed")
        if isinstance(sealed, Refusal):
            refused.append(sealed)
            continue
        known = settled(sealed, lab, out)
        if known is None:
            grader = grader or prepare()
            known = grade.grade(sealed, grader, out, tell)
        graded.append(Graded(known, decide(lab, known)))
    for item in graded:
        write_report(lab, item.evidence, item.verdict, out)
    page = write_class_page(lab, graded, refused, out)
    return ClassResult(tuple(graded), tuple(refused), page)


def handed_in(submissions: Path) -> list[Path]:
    """One entry per student; files that belong to nobody, such as .DS_Store, are passed over."""
    return sorted(
        path
        for path in submissions.iterdir()
        if not path.name.startswith(".") and (path.is_dir() or path.suffix == ".zip")
    )


def settled(submission: Submission, lab: Lab, out: Path) -> Evidence | None:
    """The evidence of these very files, unless a check of it is still open."""
    path = grade.evidence_path(submission.student, out)
    if not path.is_file():
        return None
    known = evidence.read(path)
    verdict: Verdict = decide(lab, known)
    same = known.submission.receipt == submission.receipt
    return known if same and not verdict.open else None
