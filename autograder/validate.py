"""Do a lab's hidden tests say the same in an instructor's kernel and when they grade?

The instructor's solution is run in both ways: in place, where a hidden test is ordinary code of
the notebook, and through the examination, from several seeds. Each test cell must pass in all of
them, and none may be content with the release as it is handed out: such a test tests nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nbformat

from autograder import notebook, seeds, supplies
from autograder.examine import examine
from autograder.lab import Lab
from autograder.notebook import SourceCell
from autograder.notebook_faults import Fault, faults_of
from autograder.records import Cell, Exercise, Notebook
from autograder.release import student_version
from autograder.run import Run, run
from autograder.sandbox import NoSandbox, Sandbox
from autograder.steps import Steps

DRAWS = 3  # seeds that the examination is tried with; grading uses one per student
SECRET = b"course validate"  # its draws are no student's

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """One test cell, tried in three ways."""

    notebook: str
    id: str
    points: int
    in_place: str  # what went wrong, for the solution; empty if the cell passed
    examined: tuple[str, ...]  # the same by seed, through the examination
    untouched: bool  # whether the release passes as it is

    @property
    def faults(self) -> list[Fault]:
        place = f"{self.notebook}, cell {self.id}"
        failed = [message for message in self.examined if message]
        found = []
        if bool(self.in_place) != bool(failed):
            found.append(Fault(place, self._difference(failed)))
        elif self.in_place:
            found.append(Fault(place, f"the instructor's solution fails: {self.in_place}"))
        if self.untouched:
            message = "the release passes its hidden tests untouched, so they test nothing"
            found.append(Fault(place, message))
        return found

    def _difference(self, failed: list[str]) -> str:
        if not failed:
            return f"the solution passes when examined, but fails in place: {self.in_place}"
        share = f"{len(failed)} of {len(self.examined)} seeds"
        return f"the solution passes in place, but fails when examined, from {share}: {failed[0]}"


@dataclass(frozen=True)
class Validation:
    trials: tuple[Trial, ...]
    faults: tuple[Fault, ...]


def validate(lab: Lab, source: Path, sandbox: Sandbox, tell: Tell) -> Validation:
    """Try every test cell of a lab. Nothing is run where the notebooks alone show a fault."""
    if found := faults_of(lab, source):
        return Validation((), tuple(found))
    begin = Steps(1 + 3 * len(lab.notebooks), tell).begin
    begin("looking for what its notebooks read")
    supplies.fetch(lab)
    trials, faults = [], list[Fault]()
    for name in lab.notebooks:
        path = source / lab.folder / f"{name}.ipynb"
        cells = notebook.read(path)
        begin(f"{name}: in place")
        in_place, own = _in_place(name, cells, lab)
        begin(f"{name}: examined")
        examined = examinations(name, cells, _visible(cells), lab, sandbox, DRAWS)
        begin(f"{name}: the release, untouched")
        released = notebook.cells(nbformat.reads(student_version(path), as_version=4))
        untouched = examinations(name, cells, _visible(released), lab, sandbox, 1)
        faults += own
        trials += [
            Trial(name, cell.id, cell.points, in_place[cell.id],
                  tuple(_said(once[cell.id]) for once in examined), untouched[0][cell.id].passed)
            for cell in cells if cell.role == "test"
        ]  # fmt: skip
    faults += [fault for trial in trials for fault in trial.faults]
    return Validation(tuple(trials), tuple(faults))


def _in_place(name: str, cells: list[SourceCell], lab: Lab) -> tuple[dict[str, str], list[Fault]]:
    """What each code cell raised, hidden tests and all, as in the instructor's own kernel."""
    whole = tuple(Cell(cell.id, cell.source) for cell in cells if cell.kind == "code")
    with run(Notebook(name, whole), lab, NoSandbox()) as running:  # our code, and `reference`
        raised = {cell.id: _last_line(cell.error) for cell in running.cells}
        raised |= _lost(running)
    roles = {cell.id: cell.role for cell in cells}
    ours = [Fault(f"{name}, cell {place}", f"it fails: {error}")
            for place, error in raised.items() if error and roles[place] != "test"]  # fmt: skip
    return {cell.id: raised.get(cell.id, "it did not run") for cell in cells}, ours


def examinations(
    name: str,
    source: list[SourceCell],
    cells: Sequence[Cell],
    lab: Lab,
    sandbox: Sandbox,
    draws: int,
) -> list[dict[str, Exercise]]:
    """The exercises by cell, from each of several seeds."""
    with run(Notebook(name, tuple(cells)), lab, sandbox) as running:
        rounds = []
        for draw in range(draws):
            seed_of = partial(seeds.seed_for, SECRET, str(draw), name)
            rounds.append({e.id: e for e in examine(name, source, running, seed_of)})
        return rounds


def _visible(cells: Sequence[SourceCell]) -> list[Cell]:
    return [Cell(cell.id, cell.visible) for cell in cells if cell.kind == "code"]


def _lost(running: Run) -> dict[str, str]:
    last = running.last_killer
    return running.left_out | ({last.subject: last.message} if last else {})


def _said(exercise: Exercise) -> str:
    return exercise.message if not exercise.passed else ""


def _last_line(error: str) -> str:
    return error.strip().rpartition("\n")[2]
