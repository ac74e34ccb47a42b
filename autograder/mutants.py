"""Do a lab's hidden tests take points from wrong solutions, and from these alone?

Each solution of the registry is put into the instructor's notebook, which runs in the sandbox and
is examined as for a grade, from several seeds. Of the notebook only those cells are run that the
exercises rest on (names.py): plots, training and the artefact cost seconds and decide no
exercise. `whole` hands it in as a student would instead, and runs all of it.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from autograder import samples, seeds, supplies
from autograder.intake import seal
from autograder.lab import Lab
from autograder.names import needed
from autograder.notebook import SourceCell
from autograder.notebooks import work_through
from autograder.records import Cell, Exercise, Submission
from autograder.registry import RegistryError, Solution
from autograder.samples import Sample
from autograder.sandbox import Sandbox
from autograder.validate import DRAWS, SECRET, examinations

Round = Mapping[str, Exercise]  # the exercises of a notebook by test cell, from one seed
Sources = Mapping[str, list[SourceCell]]  # by notebook


@dataclass(frozen=True)
class Trial:
    """One solution, and whether what it claims came true."""

    name: str
    notebook: str
    claim: str
    lost: Mapping[str, str]  # test cells that took points, with what the student would read
    got: str
    held: bool


@dataclass(frozen=True)
class Bench:
    """What every solution is tried with."""

    lab: Lab
    sources: Sources
    source: Path  # the folder of all labs
    sandbox: Sandbox
    cores: int
    whole: bool = False


def trials(bench: Bench, solutions: Sequence[Solution]) -> Iterator[Trial]:
    """Each solution's trial, in their order, several at a time.

    Raises:
        RegistryError: the instructor's own solution loses points, so nothing can be said.
    """
    supplies.fetch(bench.lab)
    notebooks = dict.fromkeys(solution.notebook for solution in solutions)
    ours = [Solution("instructor", "", notebook, (), (), {}) for notebook in notebooks]
    with ThreadPoolExecutor(bench.cores) as pool:
        for own in pool.map(partial(_trial, bench), ours):
            _check_own(own, bench.lab)
        yield from pool.map(partial(_trial, bench), solutions)


def judged(solution: Solution, rounds: Sequence[Round]) -> Trial:
    """What the examinations say of a claim: it must come true from every seed."""
    lost = [{test for test, exercise in once.items() if not exercise.passed} for once in rounds]
    count = {test: sum(test in each for each in lost) for test in rounds[0]}
    claimed = (*solution.loses, *solution.carries)
    wrong = [_missed(test, count[test], len(rounds)) for test in claimed]
    elsewhere = [test for test, times in count.items() if times and test not in claimed]
    if elsewhere:
        also = "loses elsewhere too: " if claimed else "loses points at "
        wrong.append(also + ", ".join(elsewhere))
    said = "; ".join(message for message in wrong if message)
    got = said or ("caught" if claimed else "keeps all points")
    messages = {test: _message(test, rounds) for test, times in count.items() if times}
    return Trial(solution.name, solution.notebook, solution.claim, messages, got, held=not said)


def _missed(test: str, times: int, of: int) -> str:
    if times == 0:
        return f"caught nowhere by {test}"
    return "" if times == of else f"caught by {test} from {times} of {of} seeds only"


def _message(test: str, rounds: Sequence[Round]) -> str:
    return next(once[test].message for once in rounds if not once[test].passed)


def _check_own(own: Trial, lab: Lab) -> None:
    for test, message in own.lost.items():
        raise RegistryError(
            f"{own.notebook}, cell {test}: the instructor's own solution loses its points "
            f"({message}), so no other can be judged; `course validate {lab.number}` says more"
        )


def _trial(bench: Bench, solution: Solution) -> Trial:
    examine: Callable[[Bench, Solution], list[Round]] = _handed_in if bench.whole else _in_short
    return judged(solution, examine(bench, solution))


def _in_short(bench: Bench, solution: Solution) -> list[Round]:
    """The exercises from each seed, of the cells that they rest on."""
    source = bench.sources[solution.notebook]
    cells = [replace(cell, source=solution.cells.get(cell.id, cell.source)) for cell in source]
    tests = [cell for cell in source if cell.role == "test"]
    kept = [Cell(cell.id, cell.visible) for cell in needed(cells, tests)]
    return [*examinations(solution.notebook, source, kept, bench.lab, bench.sandbox, DRAWS)]


def _handed_in(bench: Bench, solution: Solution) -> list[Round]:
    """The exercises of the notebook as `course grade` has them: intake, rebuilt, run, examined."""
    place = {(solution.notebook, cell): text for cell, text in solution.cells.items()}
    lab = replace(bench.lab, artefact=None, thresholds=())
    folder = bench.source / lab.folder
    with tempfile.TemporaryDirectory() as work:
        sample = Sample(solution.name, solution.why, False, place)
        handed_in = samples.write(sample, folder, folder, Path(work) / "written")
        sealed = seal(handed_in, lab, Path(work) / "sealed")
        assert isinstance(sealed, Submission), sealed
        seed_of = partial(seeds.seed_for, SECRET, "0", solution.notebook)
        ran = work_through(
            solution.notebook, bench.sources[solution.notebook], sealed, lab, bench.sandbox, seed_of
        )
        return [{exercise.id: exercise for exercise in ran.exercises}]
