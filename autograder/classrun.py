"""A class of submissions: what is handed in and has no settled evidence is the work list.

There is no queue and no state beside the evidence files, so a run that was killed goes on when it
is started again, and nobody is graded twice. Of a submission that is done, only what the class
page shows stays in memory.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from autograder import evidence, grade, published
from autograder.book import decisions, summary
from autograder.book.decisions import Decision
from autograder.book.totals import total_of
from autograder.collecting import receipts
from autograder.files import alone_in, sweep
from autograder.grade import Grader
from autograder.intake import seal, student_of
from autograder.lab import Lab
from autograder.machine import Equipment
from autograder.published import Change, Published
from autograder.records import Evidence, Refusal, Submission
from autograder.report import Graded, write_class_page, write_report
from autograder.sandbox import SandboxUnavailable
from autograder.standing import may_settle, stands
from autograder.verdict import decide

ATTEMPTS = 2  # for a submission that our own code failed on
PAUSES_S = (1.0, 10.0)  # before a sandbox that did not start is tried again: memory may come back

log = logging.getLogger(__name__)
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class ClassResult:
    graded: tuple[Graded, ...]
    refused: tuple[Refusal, ...]
    page: Path
    changed: tuple[Change, ...]  # published otherwise before, from the same evidence


@dataclass(frozen=True)
class Place:
    """Where submissions are graded: on this machine one by one, or as runners.parallel says."""

    grade: Callable[[Submission, Grader, Path, grade.Tell], Evidence]
    ready: Callable[[Grader], object]  # what fails in here fails for everybody, and ends the run
    equipment: tuple[Equipment, ...] = ()  # that open checks may be settled on; none: this machine
    width: int = 1  # submissions at the same time


def _grade_here(submission: Submission, grader: Grader, out: Path, tell: grade.Tell) -> Evidence:
    return grade.grade(submission, grader, out, tell)


HERE = Place(grade=_grade_here, ready=lambda grader: grader.baseline())


@dataclass(frozen=True)
class _Session:
    """What one class run does everything with."""

    lab: Lab
    grader: Grader
    out: Path
    again: bool
    place: Place
    decided: Sequence[Decision]  # by people, before this run
    reporting: threading.Lock = field(default_factory=threading.Lock)  # charts share a style


def grade_class(
    submissions: Path,
    lab: Lab,
    prepare: Callable[[], Grader],
    out: Path,
    tell: grade.Tell,
    again: bool = False,
    place: Place = HERE,
) -> ClassResult:
    """Grade what is not graded yet, then write every report and the class page.

    Args:
        submissions: a folder with one folder or zip per student.
        prepare: called once `out` is ours, for it writes there.
        again: repeat every check that is open, even one that this machine cannot settle.
        place: where they are graded.

    Raises:
        AlreadyGrading: another grader works on `out`.
        SandboxUnavailable: no process can be started, so nobody can be graded. What is graded
            already stays, and the next run goes on from there.
    """
    with alone_in(out):
        for folder in (out, out / "evidence"):
            sweep(folder)
        session = _Session(lab, prepare(), out, again, place, decisions.read(out))
        entries = handed_in(submissions)
        handed_in_by = Counter(student_of(path) for path in entries)

        def one(numbered: tuple[int, Path]) -> Graded | Refusal:
            number, path = numbered
            if handed_in_by[student := student_of(path)] > 1:
                reason = f"{path.name}: {student} handed in twice; leave one folder or zip."
                return Refusal(student, reason)
            return _result(path, session, partial(_tell_place, tell, number, len(entries)))

        found = list(_each(one, enumerate(entries, start=1), place.width))
        graded = [each for each in found if isinstance(each, Graded)]
        refused = [each for each in found if isinstance(each, Refusal)]
        page = write_class_page(lab, graded, refused, out)
        summary.write([one.total for one in graded], out)
        return ClassResult(tuple(graded), tuple(refused), page, _published(graded, out))


def _published(graded: Sequence[Graded], out: Path) -> tuple[Change, ...]:
    before = published.read(out)
    now = [Published.of_verdict(one.student, one.graded_at, one.verdict) for one in graded]
    published.write([*before.values(), *now], out)
    same = [
        one for one in now if (old := before.get(one.student)) and old.graded_at == one.graded_at
    ]
    return tuple(published.changes(before, same))


def _each(action: Callable[[Item], Answer], items: Iterable[Item], width: int) -> Iterator[Answer]:
    """The answers in the order of the items. What one raises ends it: no other is begun."""
    if width == 1:
        yield from map(action, items)
        return
    pool = ThreadPoolExecutor(width)
    try:
        yield from pool.map(action, items)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _result(path: Path, session: _Session, tell: grade.Tell) -> Graded | Refusal:
    known = _guarded(path, partial(_known, path, session))
    if not isinstance(known, Submission):
        return known
    _started(partial(session.place.ready, session.grader))
    graded = _guarded(path, partial(_graded, known, session, tell))
    assert not isinstance(graded, Submission)
    return graded


def _known(path: Path, session: _Session) -> Graded | Refusal | Submission:
    """What became of a submission in an earlier run, or the submission if it is to be graded."""
    sealed = seal(path, session.lab, session.out / "sealed")
    if isinstance(sealed, Refusal):
        return sealed
    sealed = receipts.with_time(sealed, path)
    found = settled(sealed, session)
    return sealed if found is None else _reported(found, session)


def _graded(submission: Submission, session: _Session, tell: grade.Tell) -> Graded:
    once = partial(session.place.grade, submission, session.grader, session.out, tell)
    for _ in range(ATTEMPTS - 1):
        try:
            return _reported(_started(once), session)
        except SandboxUnavailable:
            raise
        except Exception:
            log.exception("grading %s failed, and is tried again", submission.student)
    return _reported(_started(once), session)


def _reported(found: Evidence, session: _Session) -> Graded:
    verdict = decide(session.lab, found)
    with session.reporting:
        total = total_of(session.lab, found, verdict, session.decided)
        write_report(session.lab, found, verdict, total, session.out)
    return Graded.of(found, verdict, total)


def _guarded(path: Path, action: Callable[[], Answer]) -> Answer | Refusal:
    """One submission may bring the grader down, but never the class run with it."""
    try:
        return action()
    except SandboxUnavailable:
        raise  # holds for every submission: nobody can be graded
    except Exception as error:
        log.exception("grading %s failed", path.name)
        reason = (
            f"The grader failed on this submission ({type(error).__name__}: {error}). That is our "
            "fault; nothing is lost, and the next run grades it again."
        )
        return Refusal(student_of(path), reason)


def _started(action: Callable[[], Answer]) -> Answer:
    """What the action answers; repeated, a few times at most, if the sandbox does not start."""
    for pause in PAUSES_S:
        try:
            return action()
        except SandboxUnavailable as error:
            log.warning("%s; tried again in %.0f s", error, pause)
            time.sleep(pause)
    return action()


def _tell_place(tell: grade.Tell, number: int, count: int, what: str) -> None:
    tell(f"{number} of {count}, {what}")


def handed_in(submissions: Path) -> list[Path]:
    """One entry per student. What is no folder and no zip is refused later, with the reason."""
    return sorted(path for path in submissions.iterdir() if not path.name.startswith("."))


def settled(submission: Submission, session: _Session) -> Evidence | None:
    """The evidence of these very files, unless grading them again would say more."""
    grader = session.grader
    path = grade.evidence_path(submission.student, session.out)
    if not path.is_file():
        return None
    try:
        known = evidence.read(path)
    except ValueError:
        return None  # torn, or written by a grader with other records: as if it were not there
    machine = grader.ruler.machine
    if not stands(known, submission, machine, grader.held_against):
        return None
    places = session.place.equipment or (machine,)
    more = any(may_settle(known, grader.lab, place, session.again) for place in places)
    return None if more else known
