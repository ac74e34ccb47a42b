"""Commands that try the grader and this machine."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from autograder import adversaries as attacks
from autograder import demo as demonstration
from autograder import doctor as examination
from autograder import release as releases
from autograder.cli.app import (
    RELEASE,
    SAMPLES,
    SOURCE,
    TRYING,
    LabName,
    Unsafe,
    app,
    console,
    find_lab,
)
from autograder.cli.grading import graded
from autograder.cli.shown import show, show_attacks
from autograder.progress import progress
from autograder.sandbox import find
from course_config import LABS


@app.command(rich_help_panel=TRYING)
def doctor() -> None:
    """Say what this machine is, and what it can grade."""
    found = examination.examine(LABS)
    table = Table("this machine", "", show_lines=True)
    for line in found.machine:
        table.add_row(line.name, escape(line.value))
    console.print(table)
    checks = Table("lab", "check", "here")
    for check in found.checks:
        reason = f"[yellow]not here: {escape(check.reason)}[/]" if check.reason else "can be graded"
        checks.add_row(check.lab, check.check, reason)
    console.print(checks)
    console.print("As a worker of a Dask scheduler, started in the course's folder:")
    print(found.worker)


@app.command(rich_help_panel=TRYING)
def demo(
    lab_name: LabName = "3.1",
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("out/demo"),
    unsafe_no_sandbox: Unsafe = False,
) -> None:
    """Release a lab, grade sample submissions, write reports."""
    lab, sandbox = find_lab(lab_name), find(unsafe_no_sandbox)
    releases.release(lab, SOURCE, RELEASE)
    submissions = demonstration.hand_in(lab, SOURCE, RELEASE, SAMPLES, out)
    result = graded(submissions, lab, sandbox, out)
    demonstration.write_summary(result, out / "summary.json")
    show(lab, result)


@app.command(rich_help_panel=TRYING)
def adversaries(
    folder: Annotated[Path, typer.Option(help="The corpus.")] = Path("tests/adversaries"),
    only: Annotated[str, typer.Option(help="Cases whose name contains this.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="Every trial as JSON.")] = False,
    table: Annotated[bool, typer.Option("--table", help="What is tried; tries nothing.")] = False,
) -> None:
    """Try the attacks on the grader."""
    corpus = attacks.read(folder)
    if table:
        print(attacks.table(corpus), end="")
        return
    with progress() as tell, tempfile.TemporaryDirectory() as work:
        arena = attacks.Arena(corpus, find(allow_unsafe=False), Path(work), tell)
        trials = list(attacks.attempts(corpus, arena, only))
    if json_:
        print(json.dumps([asdict(trial) for trial in trials], indent=2))
    else:
        show_attacks(trials)
    if not all(trial.held for trial in trials):
        raise typer.Exit(1)
