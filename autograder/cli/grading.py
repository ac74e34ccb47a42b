"""Commands of the week: grading, and what is done with grades that stand."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from autograder import regrade as regrades
from autograder import verify as verification
from autograder.classrun import ClassResult, grade_class, handed_in
from autograder.cli.app import GRADING, SOURCE, LabName, Out, Unsafe, app, console, find_lab
from autograder.cli.shown import show, show_changes
from autograder.grade import prepare
from autograder.lab import Lab
from autograder.progress import progress
from autograder.runners import choice
from autograder.runners import job as jobs
from autograder.runners.parallel import grade_class_on
from autograder.sandbox import Sandbox, find


@app.command(rich_help_panel=GRADING)
def grade(
    lab_name: LabName,
    submissions: Annotated[Path, typer.Argument(help="A folder, one folder or zip per student.")],
    out: Annotated[Path, typer.Option(help="Where evidence and reports go.")] = Path("out/grades"),
    again: Annotated[
        bool, typer.Option("--again", help="Repeat every open check, here or not.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that grade here; 0: this one, one by one.")
    ] = 0,
    scheduler: Annotated[
        str, typer.Option(help="Grade on a Dask scheduler's workers, such as tcp://HOST:8786.")
    ] = "",
    unsafe_no_sandbox: Unsafe = False,
) -> None:
    """Grade what is not graded yet, and write the reports."""
    if not submissions.is_dir():
        raise typer.BadParameter(f"{submissions} is not a folder of submissions")
    if not handed_in(submissions):
        raise typer.BadParameter(
            f"{submissions} holds no submissions; it needs one folder or zip per student"
        )
    if workers and scheduler:
        raise typer.BadParameter(
            f"--workers {workers} grades here and --scheduler {scheduler} elsewhere; choose one"
        )
    lab = find_lab(lab_name)
    if workers or scheduler:
        with progress() as tell, choice.chosen(workers, scheduler, unsafe_no_sandbox) as runners:
            result = grade_class_on(
                *(runners, submissions, lab, SOURCE, out, tell),
                again=again,
                unsafe=unsafe_no_sandbox,
            )
    else:
        result = graded(submissions, lab, find(unsafe_no_sandbox), out, again)
    show(lab, result)


@app.command(rich_help_panel=GRADING)
def regrade(
    lab_name: LabName,
    out: Out = Path("out/grades"),
    publish: Annotated[bool, typer.Option("--publish", help="Write what has changed.")] = False,
) -> None:
    """Make verdicts anew from evidence, and show who changes."""
    lab = find_lab(lab_name)
    found = regrades.regrade(lab, out)
    show_changes(found.changes)
    for refusal in found.unreadable:
        console.print(f"[red]{escape(refusal.student)}[/]: {escape(refusal.reason)}")
    if publish:
        console.print(f"wrote {regrades.publish(lab, found, out)}", soft_wrap=True)
    elif found.changes:
        console.print("Nothing is written yet; --publish writes it.")


@app.command(rich_help_panel=GRADING)
def verify(
    lab_name: LabName,
    bundle: Annotated[Path, typer.Argument(help="OUT/evidence/STUDENT.jsonl")],
) -> None:
    """Check that a grade follows from its evidence."""
    try:
        steps = verification.verify(bundle, find_lab(lab_name))
    except ValueError as error:
        raise typer.BadParameter(f"{bundle} is no evidence: {error}") from error
    table = Table("what", "", "found", title=bundle.stem)
    for step in steps:
        table.add_row(step.what, "holds" if step.held else "[red]fails[/]", escape(step.found))
    console.print(table)
    if not all(step.held for step in steps):
        raise typer.Exit(1)


@app.command(hidden=True)
def job(folder: Path) -> None:
    """Do the job that a runner has put into a folder."""
    jobs.run(folder, find_lab, SOURCE)


def graded(
    submissions: Path, lab: Lab, sandbox: Sandbox, out: Path, again: bool = False
) -> ClassResult:
    with progress() as tell:
        return grade_class(
            submissions, lab, lambda: prepare(lab, SOURCE, sandbox, out, tell), out, tell, again
        )
