"""The command's frame: what its commands are hung on, the options they share, and how it ends."""

import logging
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from autograder import new_lab, notebook, registry, release
from autograder.book.decisions import BrokenLog
from autograder.book.export import CannotExport
from autograder.book.totals import BadDecision
from autograder.collecting.collect import CannotCollect
from autograder.collecting.receipts import BrokenReceipts
from autograder.files import AlreadyGrading
from autograder.gradebook.sync import NoGradebook
from autograder.lab import Lab
from autograder.regrade import OtherLab
from autograder.runners.runner import NoRunner
from autograder.samples import SampleError
from autograder.student import cli as student
from course_config import LABS

SOURCE, RELEASE, SAMPLES = Path("source"), Path("release"), Path("samples")
EXPECTED = (
    *student.EXPECTED,
    AlreadyGrading,
    BadDecision,
    BrokenLog,
    BrokenReceipts,
    CannotCollect,
    CannotExport,
    NoGradebook,
    OtherLab,
    NoRunner,
    SampleError,
    registry.RegistryError,
    new_lab.CannotMakeLab,
    release.Leak,
    notebook.NotebookError,
    FileNotFoundError,
    NotADirectoryError,
)
MAKING = "Before the term: making labs"
GRADING = "Every week: handing out, collecting, grading"
TRYING = "Trying it, and this machine"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Make labs, release them, grade what students hand in.",
)
console = Console()

LabName = Annotated[str, typer.Argument(help="A lab's number or folder, such as 3.1")]
Unsafe = Annotated[
    bool, typer.Option("--unsafe-no-sandbox", help="Run student code without isolation.")
]
Out = Annotated[Path, typer.Option(help="Where evidence and reports are.")]


@app.callback()
def frame(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
) -> None:
    if debug:
        os.environ["COURSE_DEBUG"] = "1"


def find_lab(name: str) -> Lab:
    for lab in LABS:
        if name in (lab.number, lab.folder):
            return lab
    known = ", ".join(lab.number for lab in LABS)
    raise typer.BadParameter(f"there is no lab {name!r}; there are {known}")


def main() -> None:
    """Bad input is one paragraph and an exit code; --debug shows the traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    student.ended(app, EXPECTED)
