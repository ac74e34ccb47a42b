"""Commands for those who make labs."""

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from autograder import calibrate as calibration
from autograder import mutants as mutations
from autograder import new_lab as labs_to_be
from autograder import notebook as notebooks
from autograder import registry as registries
from autograder import release as releases
from autograder import validate as validation
from autograder.cli.app import (
    MAKING,
    RELEASE,
    SAMPLES,
    SOURCE,
    LabName,
    Unsafe,
    app,
    console,
    find_lab,
)
from autograder.cli.shown import counting, show_calibration, show_mutants, show_trials
from autograder.grade import prepare
from autograder.progress import progress
from autograder.sandbox import find
from course_config import LABS

REGISTRIES, CONFIG = Path("tests/labs/wrong"), Path("course_config.py")

notebook_app = typer.Typer(no_args_is_help=True, help="Source notebooks as text, and back.")
app.add_typer(notebook_app, name="notebook", rich_help_panel=MAKING)


@app.command("new-lab", rich_help_panel=MAKING)
def new_lab(
    number: Annotated[str, typer.Argument(help="Such as 3.5")],
    title: Annotated[str, typer.Argument(help='Such as "Magnitude Pruning"')],
    family: Annotated[labs_to_be.Family, typer.Option(help="What its example is about.")],
    topics: Annotated[
        list[str], typer.Option("--notebook", help="A notebook's topic; once for each, in order.")
    ],
) -> None:
    """Write the skeleton of a lab, to be filled in."""
    lab = labs_to_be.named(number, title, topics)
    course = labs_to_be.Course(SOURCE, SAMPLES, REGISTRIES, CONFIG)
    written = labs_to_be.make(lab, family, course)
    for path in [*written, *releases.release(lab, SOURCE, RELEASE)]:
        console.print(f"wrote {path}", soft_wrap=True)
    console.print(f"Next: `course validate {number}`, then docs/authoring.md.")


@notebook_app.command("to-text")
def to_text(path: Path) -> None:
    """Write NAME.py beside a source notebook."""
    path.with_suffix(".py").write_text(notebooks.to_text(path), encoding="utf-8")


@notebook_app.command("from-text")
def from_text(path: Path) -> None:
    """Write NAME.ipynb, in normal form, beside a text."""
    text = notebooks.from_text(path.read_text(encoding="utf-8"), path.name)
    path.with_suffix(".ipynb").write_text(text, encoding="utf-8")


@notebook_app.command()
def normalise(path: Path) -> None:
    """Strip outputs and metadata from a source notebook."""
    notebooks.normalise(path)


@app.command(rich_help_panel=MAKING)
def validate(lab_name: LabName, unsafe_no_sandbox: Unsafe = False) -> None:
    """Try a lab's solution in place and through the examination."""
    lab, sandbox = find_lab(lab_name), find(unsafe_no_sandbox)
    with progress() as tell:
        found = validation.validate(lab, SOURCE, sandbox, tell)
    if found.trials:
        show_trials(lab, found.trials)
    for fault in found.faults:
        console.print(f"[red]{escape(fault.place)}[/]: {escape(fault.message)}", soft_wrap=True)
    if found.faults:
        console.print(f"[red]{lab.folder} must not be released like this.[/]", soft_wrap=True)
        raise typer.Exit(1)
    console.print(f"{lab.folder}: every test says the same in both ways.", soft_wrap=True)


@app.command(rich_help_panel=MAKING)
def mutants(
    lab_name: LabName,
    folder: Annotated[Path, typer.Option(help="All registries.")] = REGISTRIES,
    only: Annotated[str, typer.Option(help="Solutions whose name contains this.")] = "",
    whole: Annotated[
        bool, typer.Option("--whole", help="Hand in and run whole notebooks; takes minutes.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Every trial as JSON.")] = False,
) -> None:
    """Try wrong and unusual solutions against the hidden tests."""
    lab, sandbox = find_lab(lab_name), find(allow_unsafe=False)
    sources = {n: notebooks.read(SOURCE / lab.folder / f"{n}.ipynb") for n in lab.notebooks}
    found = registries.read_all(folder / lab.folder, sources)
    solutions = [solution for solution in found if only in solution.name]
    if not solutions:
        raise registries.RegistryError(
            f"{folder / lab.folder} holds {len(found)} solutions, and none is called {only!r}; "
            "docs/authoring.md says how to write one"
        )
    bench = mutations.Bench(lab, sources, SOURCE, sandbox, len(os.sched_getaffinity(0)), whole)
    trials = []
    with counting(len(solutions)) as done:
        for trial in mutations.trials(bench, solutions):
            trials.append(trial)
            done(trial.name)
    if json_:
        print(json.dumps([asdict(trial) for trial in trials], indent=2))
    else:
        show_mutants(lab, trials)
    if not all(trial.held for trial in trials):
        raise typer.Exit(1)


@app.command(rich_help_panel=MAKING)
def calibrate(
    lab_name: LabName,
    runs: Annotated[int, typer.Option(min=1, help="Measurements of each model.")] = 3,
    out: Annotated[Path, typer.Option(help="Where the record goes.")] = Path("docs/calibration"),
    unsafe_no_sandbox: Unsafe = False,
) -> None:
    """Measure reference and naive methods, propose thresholds."""
    lab, sandbox = find_lab(lab_name), find(unsafe_no_sandbox)
    with progress() as tell, tempfile.TemporaryDirectory() as work:
        folders = calibration.Folders(SOURCE, RELEASE, SAMPLES, Path(work))
        grader = prepare(lab, SOURCE, sandbox, Path(work), tell)
        found = calibration.calibrate(lab, folders, grader, runs, tell)
    show_calibration(lab, found)
    path = out / f"lab-{lab.number}.json"
    calibration.write(found, path)
    console.print(f"wrote {path}", soft_wrap=True)


@app.command(rich_help_panel=MAKING)
def release(
    labs: Annotated[list[str] | None, typer.Argument(help="Labs; all, if none is named.")] = None,
    check: Annotated[bool, typer.Option(help="Write nothing; fail if release/ is stale.")] = False,
) -> None:
    """Write the students' version of labs."""
    for lab in [find_lab(name) for name in labs] if labs else LABS:
        if not check:
            for path in releases.release(lab, SOURCE, RELEASE):
                console.print(f"wrote {path}", soft_wrap=True)
        elif stale := releases.drift(lab, SOURCE, RELEASE):
            raise typer.BadParameter(
                f"release/{lab.folder} is not what source/ makes: {', '.join(stale)}. "
                f"Run `course release {lab.number}` and commit the result."
            )
        else:
            console.print(f"release/{lab.folder} is up to date", soft_wrap=True)
