"""A lab as it would be graded, as far as that is public.

The notebooks run from the top in fresh processes, and the model is measured with the grader's
rulers on the validation part. Hidden tests are where the points are: a visible test that passes
is no promise.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autograder import __version__, artefact, examples, machine, supplies
from autograder.baseline import measure_baseline
from autograder.intake import seal
from autograder.lab import Lab
from autograder.measure import measure
from autograder.notebook import NotebookError, SourceCell, released
from autograder.rebuild import rebuild
from autograder.records import (
    Artefact,
    CellRun,
    Evidence,
    Exercise,
    Finding,
    Measurement,
    Notebook,
    Submission,
)
from autograder.ruler import Ruler
from autograder.run import ProcessGone, RaisedByStudent, run
from autograder.sandbox import NoSandbox, Sandbox
from autograder.steps import Steps

UNSOLVED = "NotImplementedError"


class CannotCheck(Exception):
    """There is no lab to check. The message says what is there."""


@dataclass(frozen=True)
class Setup:
    lab: Lab
    sandbox: Sandbox
    tell: Callable[[str], None]


@dataclass(frozen=True)
class _Ran:
    notebook: Notebook
    cells: tuple[CellRun, ...]
    model: bytes | None
    findings: tuple[Finding, ...]


def check(
    lab: Lab, folder: Path, notebooks: Sequence[str], tell: Callable[[str], None]
) -> Evidence:
    """Run notebooks of a lab, and measure the model if its last one is among them.

    Args:
        folder: of the lab, as released and worked on.
        notebooks: names of this lab's.

    Returns:
        Evidence as the grader would write it, in which exercises are the visible tests.

    Raises:
        CannotCheck: a notebook is missing, or has lost what the release put into it.
        SandboxUnavailable: no process could be started.
    """
    measured_too = lab.artefact is not None and lab.notebooks[-1] in notebooks
    steps = Steps(1 + len(notebooks) + 2 * measured_too, tell)
    setup = Setup(lab, NoSandbox(), steps.begin)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        submission = _sealed(lab, folder, work)
        sources = {name: _source(folder / f"{name}.ipynb") for name in notebooks}
        setup.tell("looking for data sets")
        supplies.fetch(lab)
        ran = [_ran(name, source, submission, setup) for name, source in sources.items()]
        found, measured = _measured(ran[-1].model, work, setup) if measured_too else (None, ())
    return _evidence(submission, ran, sources, found, measured, setup)


def _evidence(
    submission: Submission,
    ran: Sequence[_Ran],
    sources: Mapping[str, Sequence[SourceCell]],
    found: Artefact | Finding | None,
    measured: tuple[Measurement, ...],
    setup: Setup,
) -> Evidence:
    names = [each.notebook.name for each in ran]
    exercises = [_visible(sources[name], one) for name, one in zip(names, ran, strict=True)]
    return Evidence(
        submission=submission,
        notebooks=tuple(each.notebook for each in ran),
        runs={each.notebook.name: each.cells for each in ran},
        exercises=tuple(exercise for of_notebook in exercises for exercise in of_notebook),
        artefact=found,
        measurements=measured,
        machine=machine.describe(setup.sandbox),
        grader_version=__version__,
        held_against="",
        graded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        findings=tuple(finding for each in ran for finding in each.findings),
    )


def _sealed(lab: Lab, folder: Path, work: Path) -> Submission:
    sealed = seal(folder.absolute(), lab, work / "sealed", student="you")
    if isinstance(sealed, Submission):
        return sealed
    raise CannotCheck(sealed.reason)


def _source(path: Path) -> list[SourceCell]:
    if not path.is_file():
        raise CannotCheck(
            f"{path.name} is not in {path.parent.absolute()}; start `course check` in the lab's "
            "folder, or name a notebook or a lab's folder"
        )
    try:
        return released(path)
    except NotebookError as error:
        raise CannotCheck(f"{error}. Copy the cell from the released notebook.") from error


def _ran(name: str, source: list[SourceCell], submission: Submission, setup: Setup) -> _Ran:
    setup.tell(f"running {name}")
    rebuilt = rebuild(name, source, submission)
    wanted, model, lost = setup.lab.artefact, None, list[Finding]()
    with run(rebuilt, setup.lab, setup.sandbox) as running:
        if wanted is not None and name == setup.lab.notebooks[-1]:
            try:
                model = running.process.collect(wanted.file)
            except (ProcessGone, RaisedByStudent) as gone:
                lost.append(Finding(name, str(gone)))
        findings = (*rebuilt.findings, *running.findings, *lost)
        return _Ran(rebuilt, running.cells, model, findings)


def _visible(source: Sequence[SourceCell], ran: _Ran) -> list[Exercise]:
    cells = {cell.id: cell for cell in ran.cells}
    tests = [cell for cell in source if cell.role == "test"]
    name = ran.notebook.name
    return [Exercise(name, test.id, test.points, *_outcome(cells.get(test.id))) for test in tests]


def _outcome(cell: CellRun | None) -> tuple[bool, str]:
    if cell is None:
        return False, "It did not run: a cell before it ended the notebook."
    if not cell.error:
        return True, ""
    last = next((line for line in reversed(cell.error.splitlines()) if line.strip()), "")
    if last.startswith(UNSOLVED):
        return False, "The function still raises NotImplementedError."
    return False, last.removeprefix("AssertionError: ")


def _measured(
    raw: bytes | None, folder: Path, setup: Setup
) -> tuple[Artefact | Finding, tuple[Measurement, ...]]:
    ruler = Ruler(
        setup.lab, setup.sandbox, machine.describe(setup.sandbox), examples_of=examples.public
    )
    found = artefact.load(raw, ruler.wanted, folder, setup.sandbox)
    if isinstance(found, Finding):
        return found, tuple(
            Measurement(each.metric, None, note=found.message) for each in setup.lab.thresholds
        )
    setup.tell(f"measuring the baseline {ruler.wanted.baseline} on public data")
    (folder / "baseline").mkdir()
    baseline = measure_baseline(ruler, folder / "baseline")
    setup.tell("measuring your model on public data")
    return found, tuple(measure(found, baseline, ruler))
