"""What people did in formgrader, as decisions of ours."""

from collections.abc import Iterator, Sequence

from nbgrader.api import Gradebook, MissingEntry, SubmittedNotebook

from autograder.book.decisions import Decision, now
from autograder.book.totals import Line, Total
from autograder.gradebook.database import place_of
from autograder.lab import Lab

BY = "formgrader"  # it does not say which person scored
SCORED = "scored in formgrader"


def taken(
    lab: Lab, totals: Sequence[Total], decided: Sequence[Decision], book: Gradebook
) -> list[Decision]:
    """The decisions that formgrader holds and our log does not.

    A score is a decision where it differs from the points that count already: for a written
    answer, and for a check whose points somebody changed. So taking twice decides nothing twice.
    """
    found = []
    for total in totals:
        try:
            submission = book.find_submission(lab.folder, total.student)
        except MissingEntry:
            continue
        said = {(each.about, each.reason) for each in decided if each.student == total.student}
        for notebook in submission.notebooks:
            lines = {
                place_of(line, lab)[1]: line
                for line in total.lines
                if place_of(line, lab)[0] == notebook.name
            }
            found += list(_scores(total.student, notebook, lines))
            found += [each for each in _comments(total.student, notebook, lines)
                      if (each.about, each.reason) not in said]  # fmt: skip
    return found


def _scores(
    student: str, notebook: SubmittedNotebook, lines: dict[str, Line]
) -> Iterator[Decision]:
    for grade in notebook.grades:
        line = lines.get(grade.cell.name)
        if line is None or grade.manual_score is None:
            continue
        points = float(grade.manual_score) + float(grade.extra_credit or 0.0)
        if line.points is None or abs(points - line.points) > 1e-9:
            kind, reason = ("hand", "") if line.written else ("override", SCORED)
            yield Decision(now(), BY, student, kind, line.name, points, reason)  # type: ignore[arg-type]


def _comments(
    student: str, notebook: SubmittedNotebook, lines: dict[str, Line]
) -> Iterator[Decision]:
    for comment in notebook.comments:
        if not (words := (comment.manual_comment or "").strip()):
            continue
        line = lines.get(comment.cell.name)  # of a written answer; a solution's belongs to its test
        about = line.name if line else ""
        where = "" if line else f"{notebook.name}, {comment.cell.name}: "
        yield Decision(now(), BY, student, "comment", about, None, where + words)
