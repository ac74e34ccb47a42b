"""The way of one submission through the rooms."""

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

from autograder import __version__, artefact, evidence, machine, measure, notebook, seeds, supplies
from autograder.baseline import Baseline, measure_baseline
from autograder.lab import Lab
from autograder.notebook import SourceCell
from autograder.notebooks import Ran, work_through
from autograder.provenance import provenance
from autograder.records import (
    Artefact,
    Evidence,
    Finding,
    Measurement,
    Provenance,
    Submission,
)
from autograder.ruler import Ruler
from autograder.sandbox import Sandbox
from autograder.standing import held_against

Tell = Callable[[str], None]  # what is being done now, for a progress display


@dataclass(frozen=True)
class Grader:
    """All that a class run needs, found once."""

    lab: Lab
    sources: Mapping[str, list[SourceCell]]  # by notebook
    held_against: str  # hash of sources and demands: evidence with another is stale
    ruler: Ruler
    # Data sets are fetched and the baseline measured when it is first called, and only then.
    # It answers None where the lab asks for no artefact.
    baseline: Callable[[], Baseline | None]


def prepare(lab: Lab, source: Path, sandbox: Sandbox, out: Path, tell: Tell) -> Grader:
    """Read the lab's source notebooks and look at this machine. Measures nothing yet.

    Raises:
        NotebookError: a source notebook is not in normal form.
    """
    ruler = Ruler(lab, sandbox, machine.describe(sandbox))
    sources = {name: notebook.read(source / lab.folder / f"{name}.ipynb") for name in lab.notebooks}
    baseline = cache(partial(_baseline, ruler, out / "baseline", tell))
    return Grader(lab, sources, held_against(lab, sources), ruler, baseline)


def _baseline(ruler: Ruler, folder: Path, tell: Tell) -> Baseline | None:
    tell("looking for what the lab's notebooks read")
    supplies.fetch(ruler.lab)
    if ruler.lab.artefact is None:
        return None
    tell(f"measuring the baseline {ruler.lab.artefact.baseline}")
    folder.mkdir(parents=True, exist_ok=True)
    return measure_baseline(ruler, folder)


def grade(submission: Submission, grader: Grader, out: Path, tell: Tell) -> Evidence:
    """A sealed submission through rooms 2 to 6; its evidence is written, and read back."""
    path = evidence_path(submission.student, out)
    evidence.write(_evidence(submission, grader, out, tell), path)
    return evidence.read(path)


def evidence_path(student: str, out: Path) -> Path:
    return out / "evidence" / f"{student}.jsonl"


def _evidence(submission: Submission, grader: Grader, out: Path, tell: Tell) -> Evidence:
    tell(f"{submission.student}: running {len(grader.lab.notebooks)} notebooks")
    # One notebook per core: they are processes of their own, and this one only waits for them.
    with ThreadPoolExecutor(grader.ruler.machine.cores) as pool:
        run_one = partial(_ran, submission, grader, seeds.secret_of(out))
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
        held_against=grader.held_against,
        graded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        findings=(*findings, *((found,) if isinstance(found, Finding) else ())),
        provenance=_provenance(grader, out),
    )


def _provenance(grader: Grader, out: Path) -> Provenance:
    examples = grader.ruler.examples if grader.lab.artefact else None
    return provenance(seeds.secret_of(out), examples, grader.baseline())


def _ran(submission: Submission, grader: Grader, secret: bytes, name: str) -> Ran:
    seed_of = partial(seeds.seed_for, secret, submission.student, name)
    source, sandbox = grader.sources[name], grader.ruler.sandbox
    return work_through(name, source, submission, grader.lab, sandbox, seed_of)


def _measured(
    raw: bytes | None, submission: Submission, grader: Grader, out: Path, tell: Tell
) -> tuple[Artefact | Finding | None, tuple[Measurement, ...]]:
    baseline = grader.baseline()
    if grader.lab.artefact is None or baseline is None:
        return None, ()
    tell(f"{submission.student}: measuring the artefact")
    folder = out / "artefacts" / submission.student
    shutil.rmtree(folder, ignore_errors=True)  # what an earlier submission handed in
    folder.mkdir(parents=True, exist_ok=True)
    found = artefact.load(raw, grader.lab.artefact, folder, grader.ruler.sandbox)
    return found, tuple(measure.measure(found, baseline, grader.ruler))
