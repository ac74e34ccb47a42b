"""Every lab's registry: wrong solutions lose points where they claim to, and right ones none."""

import os
from pathlib import Path

import pytest

from autograder import mutants, notebook, registry, sandbox
from autograder.lab import Lab
from autograder.mutants import Bench
from autograder.registry import Solution
from course_config import LABS

ROOT = Path(__file__).parents[2]
WRONG, RIGHT = 15, 5  # solutions that a lab has at least


def _bench(lab: Lab, whole: bool = False) -> Bench:
    source = ROOT / "source"
    cells = {n: notebook.read(source / lab.folder / f"{n}.ipynb") for n in lab.notebooks}
    found = sandbox.find(allow_unsafe=False)
    return Bench(lab, cells, source, found, len(os.sched_getaffinity(0)), whole)


def _solutions(lab: Lab, bench: Bench) -> list[Solution]:
    return registry.read_all(ROOT / "tests" / "labs" / "wrong" / lab.folder, bench.sources)


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_the_hidden_tests_take_points_from_wrong_solutions_alone(lab: Lab) -> None:
    """All of them, about a third of a second each on two cores."""
    bench = _bench(lab)
    trials = mutants.trials(bench, _solutions(lab, bench))
    assert [f"{each.name}, {each.claim}: {each.got}" for each in trials if not each.held] == []


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_every_exercise_has_a_wrong_solution_and_every_notebook_a_right_one(lab: Lab) -> None:
    bench = _bench(lab)
    solutions = _solutions(lab, bench)
    right = [solution for solution in solutions if not solution.loses]
    tried = {(s.notebook, test) for s in solutions for test in s.loses}
    exercises = {(n, c.id) for n, cells in bench.sources.items() for c in cells if c.role == "test"}
    assert tried == exercises
    assert {solution.notebook for solution in right} == set(lab.notebooks)
    assert len(right) >= RIGHT
    assert len(solutions) - len(right) >= WRONG


@pytest.mark.slow
@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_whole_notebooks_take_the_same_points(lab: Lab) -> None:
    """Of each exercise one wrong solution, and all right ones: ten seconds each."""
    bench = _bench(lab, whole=True)
    solutions = _solutions(lab, bench)
    one_each = {(s.notebook, s.loses): s for s in solutions if s.loses}
    chosen = [*one_each.values(), *(s for s in solutions if not s.loses)]
    trials = mutants.trials(bench, chosen)
    assert [f"{each.name}: {each.got}" for each in trials if not each.held] == []
