"""The course page: every student in every lab, with links to the labs' class pages."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from markupsafe import Markup

from autograder.book import summary
from autograder.book.summary import Summary
from autograder.files import write_whole
from autograder.lab import Lab
from autograder.report import text
from autograder.report.charts import course_chart
from autograder.report.page import environment, table_script


@dataclass(frozen=True)
class LabColumn:
    lab: Lab
    page: str  # link to its class page
    folder: str  # link to where its students' pages lie, with a slash
    count: int
    median: float
    of: int
    open_points: int
    unread_points: int


@dataclass(frozen=True)
class StudentRow:
    student: str
    points: float
    of: int  # of the labs that were handed in
    cells: tuple[tuple[Summary, str] | None, ...]  # by lab, with a link; None: nothing handed in
    marks: tuple[str, ...]


def write_site(graded: Sequence[tuple[Lab, Path]], to: Path) -> Path:
    """Write TO/index.html from what the labs' folders hold. Opens from disk, loads nothing.

    Args:
        graded: labs, each with the folder that it was graded into.

    Raises:
        FileNotFoundError: a lab was not graded there.
    """
    to.mkdir(parents=True, exist_ok=True)
    found = [(lab, out, summary.read(out)) for lab, out in graded]
    columns = [_column(lab, out, rows, to) for lab, out, rows in found]
    page = (
        environment()
        .get_template("site.html.j2")
        .render(
            unsafe=False,
            columns=columns,
            rows=_rows(found, to),
            chart=_chart(columns, found),
            script=table_script(),
        )
    )
    write_whole(page, to / "index.html")
    return to / "index.html"


def _column(lab: Lab, out: Path, rows: Sequence[Summary], to: Path) -> LabColumn:
    folder = _link(out, to) + "/"
    return LabColumn(
        lab=lab,
        page=folder + "index.html",
        folder=folder,
        count=len(rows),
        median=median(row.points for row in rows) if rows else 0.0,
        of=max((row.of for row in rows), default=0),
        open_points=sum(row.open_points for row in rows),
        unread_points=sum(row.unread_points for row in rows),
    )


def _rows(found: Sequence[tuple[Lab, Path, Sequence[Summary]]], to: Path) -> list[StudentRow]:
    by_lab = [{row.student: row for row in rows} for _, _, rows in found]
    folders = [_link(out, to) for _, out, _ in found]
    students = sorted(set().union(*by_lab)) if by_lab else []
    rows = []
    for student in students:
        cells = tuple(
            (own[student], f"{folder}/{text.file_name(student)}") if student in own else None
            for own, folder in zip(by_lab, folders, strict=True)
        )
        had = [cell[0] for cell in cells if cell is not None]
        marks = {
            "open": any(each.open_points for each in had),
            "unread": any(each.unread_points for each in had),
            "late": any(each.days_late for each in had),
            "missing": any(cell is None for cell in cells),
        }
        points, of = sum(each.points for each in had), sum(each.of for each in had)
        rows.append(StudentRow(student, points, of, cells, tuple(m for m in marks if marks[m])))
    return rows


def _chart(
    columns: Sequence[LabColumn], found: Sequence[tuple[Lab, Path, Sequence[Summary]]]
) -> Markup | None:
    shares = {
        column.lab.number: [100 * row.points / row.of for row in rows if row.of]
        for column, (_, _, rows) in zip(columns, found, strict=True)
    }
    return course_chart(shares)


def _link(out: Path, to: Path) -> str:
    return Path(os.path.relpath(out.absolute(), to.absolute())).as_posix()
