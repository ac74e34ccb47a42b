"""Commands that hand totals to other programs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from autograder import notebook
from autograder.book import export as exports
from autograder.book.standing import platform_ids, standing
from autograder.book.totals import Total
from autograder.cli.app import GRADING, SOURCE, LabName, Out, app, console, find_lab
from autograder.cli.collecting import DEFAULT
from autograder.cli.shown import counting_to
from autograder.files import write_whole
from autograder.gradebook import sync as syncing
from autograder.gradescope.bundle import bundle
from autograder.gradescope.checks import write_checks
from autograder.lab import Lab

export_app = typer.Typer(no_args_is_help=True, help="Hand totals to other programs.")
app.add_typer(export_app, name="export", rich_help_panel=GRADING)
Writer = Callable[[Lab, Sequence[Total], Mapping[str, str]], str]

Where = Annotated[
    Path | None, typer.Option(help="The file to write; OUT/export-FORMAT, if not named.")
]
Submissions = Annotated[
    Path | None, typer.Option(help="What was collected; submissions/LAB, if not named.")
]
Provisional = Annotated[
    bool, typer.Option("--provisional", help="With totals of which a part is open or unread.")
]


@export_app.command("csv")
def csv_(
    lab_name: LabName,
    out: Out = Path("out/grades"),
    to: Where = None,
    submissions: Submissions = None,
) -> None:
    """All points in a table, for spreadsheets and scripts."""
    _export(lab_name, out, to or out / "export.csv", submissions, exports.plain, True)


@export_app.command("json")
def json_(
    lab_name: LabName,
    out: Out = Path("out/grades"),
    to: Where = None,
    submissions: Submissions = None,
) -> None:
    """All points with notes and comments, for programs."""
    _export(lab_name, out, to or out / "export.json", submissions, exports.as_json, True)


@export_app.command()
def canvas(
    lab_name: LabName,
    out: Out = Path("out/grades"),
    to: Where = None,
    submissions: Submissions = None,
    provisional: Provisional = False,
) -> None:
    """A CSV that Canvas imports into its grades."""
    to = to or out / "export-canvas.csv"
    _export(lab_name, out, to, submissions, exports.canvas, provisional)


@export_app.command()
def moodle(
    lab_name: LabName,
    out: Out = Path("out/grades"),
    to: Where = None,
    submissions: Submissions = None,
    provisional: Provisional = False,
) -> None:
    """A grading worksheet that Moodle takes."""
    to = to or out / "export-moodle.csv"
    _export(lab_name, out, to, submissions, exports.moodle, provisional)


@export_app.command()
def gradescope(
    lab_name: LabName,
    to: Annotated[Path | None, typer.Option(help="The zip; out/gradescope/LAB.zip.")] = None,
) -> None:
    """A zip to upload to Gradescope as the lab's autograder."""
    lab = find_lab(lab_name)
    path = bundle(lab, Path(), to or Path("out/gradescope") / f"{lab.folder}.zip")
    console.print(f"wrote {path}; it holds solutions and hidden tests", soft_wrap=True)


@export_app.command()
def otter(
    lab_name: LabName,
    to: Annotated[Path | None, typer.Option(help="A folder; out/otter/LAB.")] = None,
) -> None:
    """Visible tests for students who use `otter check`."""
    lab = find_lab(lab_name)
    sources = {n: notebook.read(SOURCE / lab.folder / f"{n}.ipynb") for n in lab.notebooks}
    folder = to or Path("out/otter") / lab.folder
    written = write_checks(lab, sources, folder)
    console.print(f"wrote {len(written)} tests into {folder}", soft_wrap=True)


@app.command(rich_help_panel=GRADING)
def gradebook(
    lab_name: LabName,
    out: Out = Path("out/grades"),
    course: Annotated[
        Path, typer.Option(help="nbgrader's course folder, to start formgrader in.")
    ] = Path("out/nbgrader"),
    db: Annotated[
        str, typer.Option(help="The database's URL; COURSE/gradebook.db, if not given.")
    ] = "",
) -> None:
    """Take scores from nbgrader's formgrader, and show it ours."""
    lab = find_lab(lab_name)
    sources = {n: notebook.read(SOURCE / lab.folder / f"{n}.ipynb") for n in lab.notebooks}
    with counting_to() as tell:
        found = syncing.sync(lab, sources, out, course, db, tell)
    for each in found.taken:
        worth = "" if each.points is None else f", {each.points:g} points"
        console.print(f"taken: {each.student}, {each.about or each.reason}{worth}", soft_wrap=True)
    console.print(
        f"{found.students} submissions stand in {found.course}; {len(found.taken)} decisions "
        f"taken. Next: `cd {found.course} && jupyter lab`, and open Formgrader there.",
        soft_wrap=True,
    )


def _export(
    lab_name: str, out: Path, to: Path, submissions: Path | None, write: Writer, provisional: bool
) -> None:
    lab = find_lab(lab_name)
    found = standing(lab, out)
    complete = [total for total in found.totals if provisional or not total.provisional]
    ids = platform_ids(submissions or DEFAULT / lab.folder)
    write_whole(write(lab, complete, ids), to)
    console.print(f"wrote {to}: {len(complete)} totals", soft_wrap=True)
    if left := len(found.totals) - len(complete):
        console.print(f"{left} left out: open or unread in part; --provisional includes them.")
    for refusal in found.unreadable:
        console.print(f"[red]{refusal.student}[/]: {refusal.reason}", soft_wrap=True)
