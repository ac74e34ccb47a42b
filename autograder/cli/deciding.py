"""Commands of TAs: decisions about grades, and the page of the whole course."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from autograder import regrade as regrades
from autograder.book import decisions, summary
from autograder.book.decisions import Decision, Kind
from autograder.book.standing import standing
from autograder.book.totals import Line, Total
from autograder.cli.app import GRADING, LabName, Out, app, console, find_lab
from autograder.lab import Lab
from autograder.report.site import write_site
from course_config import LABS


@app.command(rich_help_panel=GRADING)
def decide(
    lab_name: LabName,
    student: Annotated[str, typer.Argument(help="As on the class page.")],
    reason: Annotated[str, typer.Option(help="For the student and for the log.")],
    about: Annotated[
        str, typer.Option(help="A check or an answer, as NOTEBOOK/ID or a metric.")
    ] = "",
    points: Annotated[
        float | None, typer.Option(min=0, help="Points that count instead; none: a comment.")
    ] = None,
    by: Annotated[str, typer.Option(help="Who decides; you, if not named.")] = "",
    out: Out = Path("out/grades"),
) -> None:
    """Comment on a submission, or give points, with the reason."""
    lab = find_lab(lab_name)
    total = _total_of(lab, student, out)
    line = _line_of(total, about) if about else None
    if points is not None and line is None:
        raise typer.BadParameter("--points needs --about: points are for one check or answer")
    if line is not None and points is not None and points > line.of:
        raise typer.BadParameter(f"{about} is worth {line.of} points; {points:g} are more")
    kind: Kind = "comment" if points is None else "override"
    if line is not None and line.written and points is not None:
        kind = "hand"
    by = by or getpass.getuser()
    decisions.add([Decision(decisions.now(), by, student, kind, about, points, reason)], out)
    regrades.publish(lab, regrades.regrade(lab, out), out)
    now = _total_of(lab, student, out)
    console.print(f"{student}: {total.points:.2f} points before, {now.points:.2f} of {now.of} now")


@app.command(rich_help_panel=GRADING)
def site(
    graded: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders that labs were graded into; all below out, if none is named."),
    ] = None,
    to: Annotated[Path, typer.Option(help="Where index.html goes.")] = Path("out/site"),
) -> None:
    """Write the page of the whole course, from the labs graded so far."""
    folders = graded or sorted(path.parent for path in Path("out").glob("*/totals.json"))
    if not folders:
        raise typer.BadParameter("nothing was graded below out/; name the folders (--out of grade)")
    found = sorted(((_lab_of(folder), folder) for folder in folders), key=lambda one: one[0].number)
    console.print(f"wrote {write_site(found, to)}", soft_wrap=True)


def _lab_of(folder: Path) -> Lab:
    names = {each.lab for each in summary.read(folder)}
    for lab in LABS:
        if names == {lab.folder}:
            return lab
    raise typer.BadParameter(f"{folder} holds totals of {', '.join(sorted(names)) or 'nobody'}")


def _total_of(lab: Lab, student: str, out: Path) -> Total:
    totals = {total.student: total for total in standing(lab, out).totals}
    if student not in totals:
        raise typer.BadParameter(
            f"{student!r} has no grade in {out}; there are {', '.join(sorted(totals)[:8])}"
        )
    return totals[student]


def _line_of(total: Total, about: str) -> Line:
    lines = {line.name: line for line in total.lines}
    if about not in lines:
        raise typer.BadParameter(f"{about!r} is not graded; there are {', '.join(lines)}")
    return lines[about]
