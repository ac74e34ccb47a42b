"""One class, both ways: scores out of nbgrader's database, then ours into it."""

import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook
from sqlalchemy.exc import SAWarning, SQLAlchemyError

from autograder import evidence
from autograder.book import decisions
from autograder.book.decisions import Decision
from autograder.book.totals import total_of
from autograder.files import write_whole
from autograder.gradebook import database, pages
from autograder.gradebook.taken import taken
from autograder.lab import Lab
from autograder.notebook import SourceCell
from autograder.regrade import publish, regrade

CONFIG = """\
c = get_config()
c.CourseDirectory.course_id = "default_course"
c.CourseDirectory.db_url = {url!r}
c.ExecutePreprocessor.timeout = 1  # grades come from the course's own grader: nothing is run here
"""


class NoGradebook(Exception):
    """The database cannot be used. The message names it, and what it said."""


@dataclass(frozen=True)
class Synced:
    taken: tuple[Decision, ...]
    students: int
    course: Path


def sync(
    lab: Lab,
    sources: Mapping[str, Sequence[SourceCell]],
    out: Path,
    course: Path,
    url: str = "",
    tell: Callable[[int, int, str], None] = lambda done, of, student: None,
) -> Synced:
    """Take what was scored in formgrader, then write notebooks and scores for it to show.

    Args:
        out: evidence, decisions and reports of the lab.
        course: nbgrader's course folder; formgrader is started in it.
        url: the database, as SQLAlchemy spells it; empty: COURSE/gradebook.db.

    Raises:
        FileNotFoundError: nothing was graded into `out`.
        NoGradebook: the database cannot be opened.
        AlreadyGrading: a grader works on `out`.
    """
    course.mkdir(parents=True, exist_ok=True)
    url = url or f"sqlite:///{course.absolute() / 'gradebook.db'}"
    with warnings.catch_warnings(), closing(_opened(url)) as book:
        # Of SQLAlchemy about how nbgrader adds a submission; the rows are right.
        warnings.simplefilter("ignore", SAWarning)
        database.register(lab, sources, book)
        new = _take(lab, out, book)
        students = _put(lab, sources, out, course, book, tell)
    write_whole(CONFIG.format(url=url), course / "nbgrader_config.py")
    return Synced(tuple(new), students, course)


def _opened(url: str) -> Gradebook:
    # nbgrader asks the program `alembic` for the version of a new database: that of its own pins.
    here = str(Path(sys.executable).parent)
    if here not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", "")])
    try:
        return Gradebook(url)
    except (SQLAlchemyError, ImportError) as error:
        first = str(error).splitlines()[0]
        raise NoGradebook(
            f"the gradebook {url} cannot be opened: {first}. Expected the URL of a database that "
            "answers, such as sqlite:////home/me/gradebook.db or "
            "postgresql+psycopg://USER:PASSWORD@HOST/NAME"
        ) from error


def _take(lab: Lab, out: Path, book: Gradebook) -> list[Decision]:
    found, decided = regrade(lab, out), decisions.read(out)
    totals = [total_of(lab, evidence.read(path), v, decided) for path, v in found.verdicts]
    new = taken(lab, totals, decided, book)
    if new:
        decisions.add(new, out)
        publish(lab, found, out)
    return new


def _put(
    lab: Lab,
    sources: Mapping[str, Sequence[SourceCell]],
    out: Path,
    course: Path,
    book: Gradebook,
    tell: Callable[[int, int, str], None],
) -> int:
    verdicts, decided = regrade(lab, out).verdicts, decisions.read(out)
    for done, (path, verdict) in enumerate(verdicts):
        found = evidence.read(path)
        submission = found.submission
        tell(done, len(verdicts), submission.student)
        total = total_of(lab, found, verdict, decided)
        folder = course / "autograded" / submission.student / lab.folder
        for name, cells in sources.items():
            node = pages.page(name, cells, found, verdict, total)
            write_whole(nbformat.writes(node) + "\n", folder / f"{name}.ipynb")
        moment = submission.handed_in_at or submission.received_at
        database.write(lab, total, moment, book)
        write_whole(moment + "\n", folder / "timestamp.txt")
    return len(verdicts)
