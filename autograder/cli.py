"""The command `course`: what an instructor types. The only module of the grader that prints."""

import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from autograder import adversaries as attacks
from autograder import calibrate as calibration
from autograder import demo as demonstration
from autograder import doctor as examination
from autograder import mutants as mutations
from autograder import new_lab as labs_to_be
from autograder import notebook as notebooks
from autograder import registry as registries
from autograder import regrade as regrades
from autograder import release as releases
from autograder import validate as validation
from autograder import verify as verification
from autograder.classrun import ClassResult, grade_class, handed_in
from autograder.cli_author import counting, show_mutants
from autograder.files import AlreadyGrading
from autograder.grade import Tell, prepare
from autograder.lab import Lab
from autograder.published import Change
from autograder.records import Check, Outcome
from autograder.runners import choice
from autograder.runners import job as jobs
from autograder.runners.parallel import grade_class_on
from autograder.runners.runner import NoRunner
from autograder.samples import SampleError
from autograder.sandbox import Sandbox, SandboxUnavailable, find
from course_config import LABS
from labkit.sources import SourceUnavailable

SOURCE, RELEASE, SAMPLES = Path("source"), Path("release"), Path("samples")
REGISTRIES, CONFIG = Path("tests/labs/wrong"), Path("course_config.py")
EXPECTED = (
    AlreadyGrading,
    SandboxUnavailable,
    NoRunner,
    SourceUnavailable,
    SampleError,
    registries.RegistryError,
    labs_to_be.CannotMakeLab,
    releases.Leak,
    notebooks.NotebookError,
    FileNotFoundError,
    NotADirectoryError,
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Release labs, grade submissions.",
)
notebook_app = typer.Typer(no_args_is_help=True, help="Source notebooks as text, and back.")
app.add_typer(notebook_app, name="notebook")
console = Console()

LabName = Annotated[str, typer.Argument(help="A lab's number or folder, such as 3.1")]
Unsafe = Annotated[
    bool, typer.Option("--unsafe-no-sandbox", help="Run student code without isolation.")
]


@app.command()
def release(
    labs: Annotated[list[str] | None, typer.Argument(help="Labs; all, if none is named.")] = None,
    check: Annotated[bool, typer.Option(help="Write nothing; fail if release/ is stale.")] = False,
) -> None:
    """Make the student's version of labs, without solutions and hidden tests."""
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


@app.command()
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
    """Grade what is not graded yet, and write a report per student and a class page."""
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


@app.command()
def doctor() -> None:
    """Say what this machine is, and what can be graded on it."""
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


@app.command(hidden=True)
def job(folder: Path) -> None:
    """Do the job that a runner has put into a folder."""
    jobs.run(folder, find_lab, SOURCE)


@app.command()
def regrade(
    lab_name: LabName,
    out: Annotated[Path, typer.Option(help="Where evidence and reports are.")] = Path("out/grades"),
    publish: Annotated[bool, typer.Option("--publish", help="Write what has changed.")] = False,
) -> None:
    """Verdicts anew from evidence: who changes, by how much and why. Runs nothing."""
    lab = find_lab(lab_name)
    found = regrades.regrade(lab, out)
    show_changes(found.changes)
    for refusal in found.unreadable:
        console.print(f"[red]{escape(refusal.student)}[/]: {escape(refusal.reason)}")
    if publish:
        console.print(f"wrote {regrades.publish(lab, found, out)}", soft_wrap=True)
    elif found.changes:
        console.print("Nothing is written yet; --publish writes it.")


@app.command()
def verify(
    lab_name: LabName,
    bundle: Annotated[Path, typer.Argument(help="OUT/evidence/STUDENT.jsonl")],
) -> None:
    """Check that a grade is what its evidence says, from the hand-in to the published points."""
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


@app.command()
def calibrate(
    lab_name: LabName,
    runs: Annotated[int, typer.Option(min=1, help="Measurements of each model.")] = 3,
    out: Annotated[Path, typer.Option(help="Where the record goes.")] = Path("docs/calibration"),
    unsafe_no_sandbox: Unsafe = False,
) -> None:
    """Measure the reference and naive methods, and propose thresholds."""
    lab, sandbox = find_lab(lab_name), find(unsafe_no_sandbox)
    with progress() as tell, tempfile.TemporaryDirectory() as work:
        folders = calibration.Folders(SOURCE, RELEASE, SAMPLES, Path(work))
        grader = prepare(lab, SOURCE, sandbox, Path(work), tell)
        found = calibration.calibrate(lab, folders, grader, runs, tell)
    show_calibration(lab, found)
    path = out / f"lab-{lab.number}.json"
    calibration.write(found, path)
    console.print(f"wrote {path}", soft_wrap=True)


@app.command()
def demo(
    lab_name: LabName = "3.1",
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("out/demo"),
    unsafe_no_sandbox: Unsafe = False,
) -> None:
    """Release a lab, grade sample submissions of it, and write a report to look at."""
    lab, sandbox = find_lab(lab_name), find(unsafe_no_sandbox)
    releases.release(lab, SOURCE, RELEASE)
    submissions = demonstration.hand_in(lab, SOURCE, RELEASE, SAMPLES, out)
    result = graded(submissions, lab, sandbox, out)
    demonstration.write_summary(result, out / "summary.json")
    show(lab, result)


@app.command()
def validate(lab_name: LabName, unsafe_no_sandbox: Unsafe = False) -> None:
    """Run the instructor's solution in place and through the examination, and compare."""
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


@app.command()
def adversaries(
    folder: Annotated[Path, typer.Option(help="The corpus.")] = Path("tests/adversaries"),
    only: Annotated[str, typer.Option(help="Cases whose name contains this.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="Every trial as JSON.")] = False,
    table: Annotated[bool, typer.Option("--table", help="What is tried; tries nothing.")] = False,
) -> None:
    """Try the attacks on the grader, and the honest submissions that must not be accused."""
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


@app.command()
def mutants(
    lab_name: LabName,
    folder: Annotated[Path, typer.Option(help="All registries.")] = REGISTRIES,
    only: Annotated[str, typer.Option(help="Solutions whose name contains this.")] = "",
    whole: Annotated[
        bool, typer.Option("--whole", help="Hand in and run whole notebooks; takes minutes.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Every trial as JSON.")] = False,
) -> None:
    """Try wrong and unusual solutions: are points lost where they claim, and only there?"""
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
        show_mutants(lab, trials, console)
    if not all(trial.held for trial in trials):
        raise typer.Exit(1)


@app.command("new-lab")
def new_lab(
    number: Annotated[str, typer.Argument(help="Such as 3.5")],
    title: Annotated[str, typer.Argument(help='Such as "Magnitude Pruning"')],
    family: Annotated[labs_to_be.Family, typer.Option(help="What its example is about.")],
    topics: Annotated[
        list[str], typer.Option("--notebook", help="A notebook's topic; once for each, in order.")
    ],
) -> None:
    """Write a lab to be filled in: notebooks, README, samples, registry, release and its entry."""
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


def graded(
    submissions: Path, lab: Lab, sandbox: Sandbox, out: Path, again: bool = False
) -> ClassResult:
    with progress() as tell:
        return grade_class(
            submissions, lab, lambda: prepare(lab, SOURCE, sandbox, out, tell), out, tell, again
        )


def find_lab(name: str) -> Lab:
    for lab in LABS:
        if name in (lab.number, lab.folder):
            return lab
    known = ", ".join(lab.number for lab in LABS)
    raise typer.BadParameter(f"there is no lab {name!r}; there are {known}")


@contextmanager
def progress() -> Iterator[Tell]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task("starting", total=None)

        def tell(what: str) -> None:
            display.update(task, description=what)
            if not display.console.is_terminal:
                display.console.print(what)

        yield tell


def show(lab: Lab, result: ClassResult) -> None:
    metrics = [threshold.metric for threshold in lab.thresholds]
    titles = (metric.replace("_", " ") for metric in metrics)
    table = Table("submission", "points", "exercises", *titles, "open", title=lab.title)
    for item in result.graded:
        verdict = item.verdict
        checks = {check.name: check for check in verdict.checks}
        passed = [c.outcome is Outcome.PASSED for c in verdict.checks if c.threshold is None]
        table.add_row(
            item.student,
            f"{verdict.points:.1f}/{verdict.of}",
            f"{sum(passed)}/{len(passed)}",
            *(measured(checks[metric]) for metric in metrics),
            str(len(verdict.open)),
        )
    for refusal in result.refused:
        table.add_row(escape(refusal.student), "refused", escape(refusal.reason))
    console.print(table)
    if result.changed:
        console.print("The lab's numbers have changed since these were published:")
        show_changes(result.changed)
    console.print(f"Open {result.page} in a browser.", soft_wrap=True)


def show_changes(changes: Sequence[Change]) -> None:
    if not changes:
        console.print("No grade differs from what is published.")
        return
    table = Table("student", "published", "now", "change", "why")
    for change in changes:
        before = "none" if change.before is None else f"{change.before:.1f}"
        difference = change.after - (change.before or 0.0)
        why = escape("\n".join(change.reasons))
        table.add_row(
            escape(change.student), before, f"{change.after:.1f}", f"{difference:+.1f}", why
        )
    console.print(table)


def show_calibration(lab: Lab, found: calibration.Calibration) -> None:
    table = Table("method", *(t.metric for t in lab.thresholds), title=lab.title)
    for method in found.methods:
        values = (method.intervals(threshold.metric) for threshold in lab.thresholds)
        table.add_row(method.name, *(", ".join(f"{i.value:.4g}" for i in each) for each in values))
    console.print(table)
    proposed = Table("metric", "none", "full", "now", "basis", "warning")
    now = {threshold.metric: threshold for threshold in lab.thresholds}
    for each in found.proposals:
        standing = f"{now[each.metric].none:g} to {now[each.metric].full:g}"
        none, full = f"{each.none:g}", f"{each.full:g}"
        proposed.add_row(each.metric, none, full, standing, each.basis, each.warning)
    console.print(proposed)


def show_attacks(trials: Sequence[attacks.Trial]) -> None:
    table = Table("case", "expected", "got", "evidence")
    for trial in trials:
        got = trial.got if trial.held else f"[red]{escape(trial.got)}[/]"
        table.add_row(trial.name, trial.expected, got, escape("\n".join(trial.evidence[:2])))
    console.print(table)
    held = sum(trial.held for trial in trials)
    console.print(f"{held} of {len(trials)} cases came out as expected.")


def show_trials(lab: Lab, trials: Sequence[validation.Trial]) -> None:
    columns = ("notebook", "test", "points", "in place", "examined", "untouched")
    table = Table(*columns, title=lab.title)
    for trial in trials:
        held = sum(not message for message in trial.examined)
        table.add_row(
            trial.notebook.partition("-")[0],  # its number: the names do not fit a terminal
            trial.id,
            str(trial.points),
            "fails" if trial.in_place else "passes",
            f"{held} of {len(trial.examined)} pass",
            "passes" if trial.untouched else "fails",
        )
    console.print(table)


def measured(check: Check) -> str:
    """A check in a table's cell: what was measured, and the points for it."""
    value = check.measurement.value if check.measurement else None
    figure = f"{value.value:.2f}" if value else "none"
    points = "open" if check.points is None else f"{check.points:.0f}/{check.of}"
    return f"{figure}, {points}"


def main() -> None:
    """Bad input is one paragraph and an exit code; COURSE_DEBUG=1 shows the traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        app()
    except EXPECTED as error:
        if os.environ.get("COURSE_DEBUG") == "1":
            raise
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
