"""The way of one submission through the rooms, and of a class of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from autograder import __version__, artefact, evidence, machine, measure, notebook
from autograder.examine import examine
from autograder.lab import Lab
from autograder.measure import Baseline, Ruler
from autograder.notebook import SourceCell
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
from autograder.run import ProcessGone, RaisedByStudent, run
from autograder.sandbox import Sandbox
from labkit import data

Tell = Callable[[str], None]  # what is being done now, for a progress display


@dataclass(frozen=True)
class Grader:
    """All that a class run needs, found once."""

    lab: Lab
    sources: dict[str, list[SourceCell]]  # by notebook
    ruler: Ruler
    baseline: Baseline | None  # None: the lab asks for no artefact


def prepare(lab: Lab, source: Path, sandbox: Sandbox, out: Path, tell: Tell) -> Grader:
    """Read the lab's source notebooks, and measure its baseline on this machine."""
    for name in lab.datasets:
        tell(f"looking for the data set {name}")
        data.load(data.SETS[name], "train")  # fetched now: the sandbox has no network
    ruler = Ruler(lab, sandbox, machine.describe(sandbox))
    sources = {name: notebook.read(source / lab.folder / f"{name}.ipynb") for name in lab.notebooks}
    if lab.artefact is None:
        return Grader(lab, sources, ruler, None)
    tell(f"measuring the baseline {lab.artefact.baseline}")
    folder = out / "baseline"
    folder.mkdir(parents=True, exist_ok=True)
    return Grader(lab, sources, ruler, measure.measure_baseline(ruler, folder))


def grade(submission: Submission, grader: Grader, out: Path, tell: Tell) -> Evidence:
    """A sealed submission through rooms 2 to 6; its evidence is written, and read back."""
    path = evidence_path(submission.student, out)
    evidence.write(_evidence(submission, grader, out, tell), path)
    return evidence.read(path)


def evidence_path(student: str, out: Path) -> Path:
    return out / "evidence" / f"{student}.jsonl"


@dataclass(frozen=True)
class _Ran:
    """What one notebook leaves behind of the rooms above the trust line."""

    notebook: Notebook
    cells: tuple[CellRun, ...]
    exercises: tuple[Exercise, ...]
    findings: tuple[Finding, ...]
    artefact: bytes | None


def _evidence(submission: Submission, grader: Grader, out: Path, tell: Tell) -> Evidence:
    tell(f"{submission.student}: running {len(grader.lab.notebooks)} notebooks")
    # One notebook per core: they are processes of their own, and this one only waits for them.
    with ThreadPoolExecutor(grader.ruler.machine.cores) as pool:
        run_one = partial(_run_notebook, submission=submission, grader=grader)
        ran = list(pool.map(run_one, grader.lab.notebooks))
    found, measurements = _measured(ran[-1].artefact, submission, grader, out, tell)
    findings = [*submission.findings, *(finding for each in ran for finding in each.findings)]
    return Evidence(
        submission=submission,
        notebooks=tuple(each.notebook for each in ran),
        runs={each.notebook.name: each.cells for each in ran},
        exercises=tuple(exercise for each in ran for exercise in each.exercises),
        artefact=found,
        measurements=measurements,
        machine=grader.ruler.machine,
        grader_version=__version__,
        graded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        findings=(*findings, *((found,) if isinstance(found, Finding) else ())),
    )


def _measured(
    raw: bytes | None, submission: Submission, grader: Grader, out: Path, tell: Tell
) -> tuple[Artefact | Finding | None, tuple[Measurement, ...]]:
    if grader.lab.artefact is None or grader.baseline is None:
        return None, ()
    tell(f"{submission.student}: measuring the artefact")
    folder = out / "artefacts" / submission.student
    folder.mkdir(parents=True, exist_ok=True)
    found = artefact.load(raw, grader.lab.artefact, folder)
    return found, tuple(measure.measure(found, grader.baseline, grader.ruler))


def _run_notebook(name: str, submission: Submission, grader: Grader) -> _Ran:
    source = grader.sources[name]
    rebuilt = rebuild(name, source, submission)
    findings = list(rebuilt.findings)
    wanted = grader.lab.artefact if name == grader.lab.notebooks[-1] else None
    model = None
    with run(rebuilt, grader.lab, grader.ruler.sandbox) as running:
        findings += running.findings
        if wanted is not None:
            try:  # before the hidden tests, which may end the process
                model = running.process.collect(wanted.file)
            except (ProcessGone, RaisedByStudent) as gone:
                findings.append(Finding(name, str(gone)))
        exercises = examine(name, source, running)
    return _Ran(rebuilt, running.cells, tuple(exercises), tuple(findings), model)
