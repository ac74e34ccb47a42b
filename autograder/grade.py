"""The way of one submission through the rooms, and of a class of them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autograder import __version__, artefact, evidence, machine, measure, notebook
from autograder.examine import examine
from autograder.lab import Lab
from autograder.measure import Baseline, Ruler
from autograder.notebook import SourceCell
from autograder.rebuild import rebuild
from autograder.records import (
    CellRun,
    Evidence,
    Exercise,
    Finding,
    Notebook,
    Submission,
)
from autograder.run import ProcessGone, run
from autograder.sandbox import Sandbox

Tell = Callable[[str], None]  # what is being done now, for a progress display


@dataclass(frozen=True)
class Grader:
    """All that a class run needs, found once."""

    lab: Lab
    sources: dict[str, list[SourceCell]]  # by notebook
    ruler: Ruler
    baseline: Baseline


def prepare(lab: Lab, source: Path, sandbox: Sandbox, out: Path, tell: Tell) -> Grader:
    """Read the lab's source notebooks, and measure its baseline on this machine."""
    ruler = Ruler(lab, sandbox, machine.describe(sandbox))
    sources = {name: notebook.read(source / lab.folder / f"{name}.ipynb") for name in lab.notebooks}
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


@dataclass
class _Ran:
    """What the rooms above the trust line leave behind for one submission."""

    notebooks: list[Notebook]
    runs: dict[str, tuple[CellRun, ...]]
    exercises: list[Exercise]
    findings: list[Finding]
    artefact: bytes | None = None


def _evidence(submission: Submission, grader: Grader, out: Path, tell: Tell) -> Evidence:
    ran = _Ran([], {}, [], list(submission.findings))
    for name in grader.lab.notebooks:
        tell(f"{submission.student}: {name}")
        _run_notebook(name, submission, grader, ran)
    tell(f"{submission.student}: measuring the artefact")
    folder = out / "artefacts" / submission.student
    folder.mkdir(parents=True, exist_ok=True)
    found = artefact.load(ran.artefact, grader.lab.artefact, folder)
    if isinstance(found, Finding):
        ran.findings.append(found)
    return Evidence(
        submission=submission,
        notebooks=tuple(ran.notebooks),
        runs=ran.runs,
        exercises=tuple(ran.exercises),
        artefact=found,
        measurements=tuple(measure.measure(found, grader.baseline, grader.ruler)),
        machine=grader.ruler.machine,
        grader_version=__version__,
        graded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        findings=tuple(ran.findings),
    )


def _run_notebook(name: str, submission: Submission, grader: Grader, ran: _Ran) -> None:
    source = grader.sources[name]
    rebuilt = rebuild(name, source, submission)
    ran.notebooks.append(rebuilt)
    ran.findings += rebuilt.findings
    with run(rebuilt, grader.lab, grader.ruler.sandbox) as running:
        ran.runs[name] = running.cells
        ran.findings += running.findings
        ran.exercises += examine(name, source, running.cells, running.process)
        if name == grader.lab.notebooks[-1]:
            try:
                ran.artefact = running.process.collect(grader.lab.artefact.file)
            except ProcessGone as gone:
                ran.findings.append(Finding(name, str(gone)))
