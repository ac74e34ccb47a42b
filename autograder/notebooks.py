"""Rooms 2 to 4 for one notebook of a submission, repeated where its process was lost.

From outside, a process that its own code ended looks like one that the machine took away. So the
notebook is run once more: what ends it at the same place again is the student's, and what does
not was ours. Seeds are the same in each attempt, so that a repetition is no second draw.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from autograder.examine import examine
from autograder.lab import Lab, Limits
from autograder.notebook import SourceCell
from autograder.rebuild import rebuild
from autograder.records import CellRun, Exercise, Finding, Notebook, Submission
from autograder.run import ProcessGone, RaisedByStudent, Run, run
from autograder.sandbox import Sandbox

ATTEMPTS = 3


@dataclass(frozen=True)
class Ran:
    """What one notebook leaves behind of the rooms above the trust line."""

    notebook: Notebook
    cells: tuple[CellRun, ...]
    exercises: tuple[Exercise, ...]
    findings: tuple[Finding, ...]
    artefact: bytes | None
    lost_at: frozenset[str]  # cells and exercises whose process ended; empty if it lived


def work_through(
    name: str,
    source: list[SourceCell],
    submission: Submission,
    lab: Lab,
    sandbox: Sandbox,
    seed_of: Callable[[str], int],
) -> Ran:
    """Rebuild a notebook, run and examine it, until its process lives or is lost as before.

    Args:
        seed_of: by the id of a test cell, what its random draws begin from.

    Raises:
        SandboxUnavailable: no process could be started.
    """
    notebook = rebuild(name, source, submission)
    once = partial(_once, notebook, source, lab, sandbox, seed_of)
    ran = once()
    for _ in range(ATTEMPTS - 1):
        if not ran.lost_at:
            break
        before, ran = ran, once()
        if ran.lost_at == before.lost_at:
            break
    return ran


def _once(
    notebook: Notebook,
    source: list[SourceCell],
    lab: Lab,
    sandbox: Sandbox,
    seed_of: Callable[[str], int],
) -> Ran:
    wanted = lab.artefact if notebook.name == lab.notebooks[-1] else None
    with run(notebook, lab, sandbox) as running:
        findings = [*notebook.findings, *running.findings]
        model = None
        if wanted is not None:
            try:  # before the hidden tests, which may end the process
                model = running.process.collect(wanted.file)
            except (ProcessGone, RaisedByStudent) as gone:
                findings.append(Finding(notebook.name, str(gone)))
        exercises = tuple(examine(notebook.name, source, running, seed_of))
        lost_at = _lost_at(running, exercises)
    cells = _kept(running.cells, lab.limits)
    return Ran(notebook, cells, exercises, tuple(findings), model, lost_at)


def _lost_at(running: Run, exercises: Sequence[Exercise]) -> frozenset[str]:
    places = set(running.left_out)
    if running.last_killer is not None:
        places.add(running.last_killer.subject)
    if running.revivals or running.process.gone is not None:
        places |= {"a call", *(exercise.id for exercise in exercises if not exercise.passed)}
    return frozenset(places)


def _kept(cells: Sequence[CellRun], limits: Limits) -> tuple[CellRun, ...]:
    """The cells with what they printed, up to the notebook's limit: it goes into the evidence."""
    kept, left = [], limits.logs_bytes
    for cell in cells:
        error = cell.error[:left]
        output = cell.output[: left - len(error)]
        left -= len(error) + len(output)
        kept.append(replace(cell, output=output, error=error))
    return tuple(kept)
