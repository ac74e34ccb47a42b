"""The command that takes what students handed in."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from autograder.cli.app import GRADING, LabName, app, console, find_lab
from autograder.cli.shown import counting_to
from autograder.collecting import collect as collecting
from autograder.collecting.platforms import Platform

DEFAULT = Path("submissions")


@app.command(rich_help_panel=GRADING)
def collect(
    lab_name: LabName,
    where: Annotated[
        Path, typer.Argument(help="A platform's zip, an exchange's inbound folder, or a folder.")
    ],
    into: Annotated[
        Path | None, typer.Option(help="What is graded afterwards; submissions/LAB, if not named.")
    ] = None,
    platform: Annotated[
        Platform | None, typer.Option("--from", help="Told by the files' names, if not named.")
    ] = None,
    times: Annotated[
        Path | None,
        typer.Option(help="CSV with id and received_at, for a platform that does not say when."),
    ] = None,
) -> None:
    """Take what students handed in, with a receipt for each."""
    lab = find_lab(lab_name)
    into = into or DEFAULT / lab.folder
    if not where.exists():
        raise typer.BadParameter(f"{where} is not there")
    received = collecting.read_times(times) if times else {}
    with counting_to() as tell:
        found = collecting.collect(lab, where, into, platform, received, tell)
    table = Table("student", "attempt", "files", "received", "receipt", title=lab.title)
    for receipt in found.new:
        received_at = receipt.received_at or ("late" if receipt.late else "not said")
        table.add_row(
            escape(receipt.student),
            str(receipt.number),
            str(receipt.files),
            received_at,
            receipt.seal[:16],
        )
    console.print(table)
    for finding in found.left:
        console.print(f"[yellow]{escape(finding.subject)}[/]: {escape(finding.message)}")
    console.print(
        f"{len(found.new)} new, {found.known} known already, read as {found.platform}. "
        f"Next: `course grade {lab.number} {into}`",
        soft_wrap=True,
    )
