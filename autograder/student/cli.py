"""The commands of students: `course check` and `course submit`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autograder.lab import Lab
from autograder.progress import progress
from autograder.records import Check, Evidence, Outcome, Verdict
from autograder.report.page import METRIC_NAMES, value_in_words
from autograder.sandbox import SandboxUnavailable
from autograder.student import check as checking
from autograder.student import pack as packing
from autograder.verdict import decide
from course_config import LABS
from labkit.sources import SourceUnavailable

EXPECTED = (checking.CannotCheck, packing.CannotPack, SandboxUnavailable, SourceUnavailable)
PANEL = "For students"
console = Console()

Where = Annotated[
    Path, typer.Argument(help="A lab's folder or one of its notebooks; here, if not named.")
]


def add_to(app: typer.Typer) -> None:
    """Hang the students' commands on an app."""
    app.command(rich_help_panel=PANEL)(check)
    app.command(rich_help_panel=PANEL)(submit)


def check(where: Where = Path()) -> None:
    """Run visible tests, and measure the model on public data."""
    lab, folder, notebooks = placed(where)
    with progress() as tell:
        found = checking.check(lab, folder, notebooks, tell)
    show_tests(found)
    if found.artefact is not None:
        show_model(decide(lab, found))
    for finding in found.findings:
        console.print(f"[yellow]{escape(finding.subject)}[/]: {escape(finding.message)}")
    console.print(
        "Hidden tests and hidden data decide the points; this is what is public of them.",
        soft_wrap=True,
    )


def submit(
    where: Where = Path(),
    to: Annotated[
        Path | None, typer.Option(help="The zip; beside the folder, if not named.")
    ] = None,
) -> None:
    """Pack a lab into one zip to hand in, with a receipt."""
    lab, folder, _ = placed(where)
    out = to or folder.absolute().parent / f"{lab.folder}.zip"
    packed = packing.pack(lab, folder, out)
    for warning in packed.warnings:
        console.print(f"[yellow]{escape(warning.subject)}[/]: {escape(warning.message)}")
    console.print(f"wrote {packed.path}: {len(packed.files)} files, {packed.size_bytes:,} bytes")
    console.print(f"packed at {packed.at}, sha256 {packed.sha256}", soft_wrap=True)
    console.print(
        "Hand this file in where your instructor says. What counts is when it arrives there; keep "
        "these lines to show what you sent.",
        soft_wrap=True,
    )


def placed(where: Path) -> tuple[Lab, Path, tuple[str, ...]]:
    """The lab, its folder and the notebooks that a path means."""
    folder = where.parent if where.suffix == ".ipynb" else where
    names = (where.stem,) if where.suffix == ".ipynb" else ()
    for lab in LABS:
        known = names or (lab.notebooks[0],)
        here = folder.absolute().name == lab.folder
        if set(known) <= set(lab.notebooks) and (
            here or any((folder / f"{name}.ipynb").is_file() for name in lab.notebooks)
        ):
            return lab, folder, names or lab.notebooks
    raise checking.CannotCheck(
        f"{where.absolute()} is no lab of this course; expected a folder with notebooks such as "
        f"{LABS[0].notebooks[0]}.ipynb, or one of them. There are labs "
        f"{', '.join(lab.number for lab in LABS)}"
    )


def show_tests(found: Evidence) -> None:
    table = Table("exercise", "points", "visible test")
    for exercise in found.exercises:
        said = (
            "[green]passes[/]" if exercise.passed else f"[red]fails[/] {escape(exercise.message)}"
        )
        name = f"{exercise.notebook.partition('-')[0]}/{exercise.id}"
        table.add_row(escape(name), str(exercise.points), said)
    console.print(table)
    passed = sum(exercise.passed for exercise in found.exercises)
    console.print(f"{passed} of {len(found.exercises)} visible tests pass.")


def show_model(verdict: Verdict) -> None:
    table = Table("your model", "measured on public data", "points it would earn", "")
    for each in verdict.checks:
        if each.threshold is not None:
            table.add_row(
                METRIC_NAMES[each.threshold.metric],
                value_in_words(each.measurement, each.threshold.unit) or "no value",
                _worth(each),
                escape(each.note),
            )
    console.print(table)


def _worth(check: Check) -> str:
    if check.outcome is Outcome.NOT_GRADED or check.points is None:
        return f"open, of {check.of}"
    return f"{check.points:.1f} of {check.of}"


def main() -> None:
    """`course` in the students' wheel."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Try a lab, and hand it in.",
    )
    add_to(app)
    ended(app, EXPECTED)


def ended(app: typer.Typer, expected: tuple[type[Exception], ...]) -> None:
    """Run the command. What is expected to go wrong is one paragraph and an exit code."""
    try:
        app()
    except expected as error:
        if os.environ.get("COURSE_DEBUG") == "1":
            raise
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
