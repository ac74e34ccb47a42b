"""Totals as files that other programs read.

Source  Canvas, "Import grades": a CSV with the columns Student, ID, SIS User ID, SIS Login ID,
        Section and one per assignment, and a row "Points Possible". Moodle, "Upload grading
        worksheet": Identifier as "Participant NUMBER", Grade, Feedback comments.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from autograder.book.totals import Line, Total
from autograder.lab import Lab

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
MOODLE = ("Identifier", "Full name", "Grade", "Maximum grade", "Feedback comments")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


class CannotExport(ValueError):
    """The totals do not say what the format needs. The message says what is missing for whom."""


def plain(lab: Lab, totals: Sequence[Total], ids: Mapping[str, str]) -> str:
    """A row per student, a column per check and written answer; empty where there are no points."""
    names = list(dict.fromkeys(line.name for total in totals for line in total.lines))
    head = (
        "student",
        "id",
        "points",
        "of",
        "provisional",
        "days_late",
        "lost_for_lateness",
        *names,
    )
    rows = []
    for total in totals:
        lines = {line.name: line for line in total.lines}
        late = total.lateness.days if total.lateness else 0
        rows.append(
            (
                *(total.student, ids.get(total.student, ""), _number(total.points), total.of),
                *("yes" if total.provisional else "no", late, _number(total.late_loss)),
                *(_points(lines.get(name)) for name in names),
            )
        )
    return _csv(head, rows)


def canvas(lab: Lab, totals: Sequence[Total], ids: Mapping[str, str]) -> str:
    """
    Raises:
        CannotExport: a student has no id of Canvas.
    """
    _check_ids(totals, ids, "Canvas")
    title = f"Lab {lab.number}: {lab.title}"
    possible = ("Points Possible", "", "", "", "", max((total.of for total in totals), default=0))
    rows = [(t.student, ids[t.student], "", "", "", _number(t.points)) for t in totals]
    return _csv((*CANVAS, title), [possible, *rows])


def moodle(lab: Lab, totals: Sequence[Total], ids: Mapping[str, str]) -> str:
    """
    Raises:
        CannotExport: a student has no participant number of Moodle.
    """
    _check_ids(totals, ids, "Moodle")
    rows = [
        (f"Participant {ids[t.student]}", t.student, _number(t.points), t.of, _comments(t))
        for t in totals
    ]
    return _csv(MOODLE, rows)


def as_json(lab: Lab, totals: Sequence[Total], ids: Mapping[str, str]) -> str:
    """All that a total says, with its lines and comments."""
    found = [
        asdict(total)
        | {
            "id": ids.get(total.student, ""),
            "points": total.points,
            "of": total.of,
            "provisional": total.provisional,
            "lost_for_lateness": total.late_loss,
            "lines": [_line(line) for line in total.lines],
        }
        for total in totals
    ]
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def _line(line: Line) -> dict[str, object]:
    return asdict(line) | {"outcome": line.outcome.value if line.outcome else None}


def _check_ids(totals: Iterable[Total], ids: Mapping[str, str], platform: str) -> None:
    if missing := [total.student for total in totals if not ids.get(total.student)]:
        raise CannotExport(
            f"{platform} knows students by its own numbers, and none is known of "
            f"{', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''}; collect with "
            f"`course collect` from {platform}'s download, or export csv"
        )


def _comments(total: Total) -> str:
    return "; ".join(f"{each.about}: {each.text}" if each.about else each.text
                     for each in total.comments)  # fmt: skip


def _points(line: Line | None) -> str:
    return "" if line is None or line.points is None else _number(line.points)


def _number(points: float) -> str:
    return f"{points:.2f}"


def _csv(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([[_safe(cell) for cell in row] for row in rows])
    return sink.getvalue()


def _safe(cell: object) -> object:
    """A text that a spreadsheet would take for a formula begins with an apostrophe instead."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
