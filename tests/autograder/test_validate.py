"""`course validate`: what a source notebook may not do, each a changed line of the mini lab."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import minilab
import pytest

from autograder import notebook
from autograder.notebook_faults import Fault, faults_of
from autograder.sandbox import Sandbox
from autograder.validate import Validation, validate

# Without the cells that build a model: they take a minute and are no exercise.
EXERCISES = minilab.TEXT[: minilab.TEXT.index('# %% build role="solution"')]
LAB = replace(minilab.LAB, artefact=None, thresholds=(), datasets=())
HIDDEN = (
    'assert count("xyx") == {"x": 2, "y": 1}, "the counts are wrong for a text with two characters"'
)


def _source(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in EXERCISES
    target = folder / LAB.folder
    target.mkdir(parents=True)
    text = notebook.from_text(EXERCISES.replace(old, new, 1), minilab.NAME)
    (target / f"{minilab.NAME}.ipynb").write_text(text, encoding="utf-8")
    return folder


def _static(tmp_path: Path, old: str, new: str) -> list[Fault]:
    return faults_of(LAB, _source(tmp_path, old, new))


def _validated(tmp_path: Path, isolated: Sandbox, old: str = "", new: str = "") -> Validation:
    return validate(LAB, _source(tmp_path, old, new), isolated, lambda _: None)


def test_a_sound_lab_has_no_faults(tmp_path: Path, isolated: Sandbox) -> None:
    found = _validated(tmp_path, isolated)
    assert found.faults == ()
    assert {trial.id for trial in found.trials} == {"test-double", "test-count"}
    assert all(len(trial.examined) == 3 for trial in found.trials)


@pytest.mark.parametrize(
    ("old", "new", "cell", "message"),
    [
        (HIDDEN, f"{HIDDEN}\nassert first == 1", "test-count", "hidden tests use first"),
        (HIDDEN, "", "test-count", "its hidden tests are empty"),
        (f"### BEGIN HIDDEN TESTS\n{HIDDEN}\n### END HIDDEN TESTS\n", "", "test-count",
         "its markers are none"),
        (f"{HIDDEN}\n### END HIDDEN TESTS", HIDDEN, "test-count", "its markers are ### BEGIN"),
        ("    return x * 2\n    ### END SOLUTION", "    return x * 2", "double", "its markers are"),
        ("    ### BEGIN SOLUTION\n    if x", "    if x", "double", "its markers are"),
        ("import labkit\n", "import labkit\n### BEGIN SOLUTION\n### END SOLUTION\n", "imports",
         "holds none"),
        ("points=2", "points=0", "test-count", "worth 0 points"),
        (HIDDEN, f"{HIDDEN} +", "test-count", "it is not Python"),
        (HIDDEN, f"    {HIDDEN}", "test-count", "it is not Python"),
    ],
)  # fmt: skip
def test_a_fault_that_can_be_seen_is_named_with_its_cell(
    tmp_path: Path, old: str, new: str, cell: str, message: str
) -> None:
    (fault,) = _static(tmp_path, old, new)
    assert fault.place == f"{minilab.NAME}, cell {cell}"
    assert message in fault.message


def test_an_id_that_stands_twice_is_a_fault(tmp_path: Path) -> None:
    path = _source(tmp_path) / LAB.folder / f"{minilab.NAME}.ipynb"
    text = path.read_text()
    path.write_text(text.replace('"id": "test-count"', '"id": "test-double"'))
    (fault,) = faults_of(LAB, tmp_path)
    assert fault.place == f"{minilab.NAME}, cell test-double"
    assert "stands twice" in fault.message


def test_points_on_a_cell_that_gives_none_are_a_fault(tmp_path: Path) -> None:
    path = _source(tmp_path) / LAB.folder / f"{minilab.NAME}.ipynb"
    text = path.read_text()
    path.write_text(text.replace('"locked": false,', '"locked": false,\n     "points": 3,', 1))
    (fault,) = faults_of(LAB, tmp_path)
    assert "not in normal form" in fault.message


def test_a_notebook_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    (fault,) = faults_of(LAB, tmp_path)
    assert f"{minilab.NAME}.ipynb" in fault.message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # in place `count` is a function, when examined a proxy of one
        (HIDDEN, f"{HIDDEN}\nassert count.__code__.co_argcount == 1",
         "passes in place, but fails when examined"),
        # in place the argument itself is changed, when examined a copy of it
        ("    return x * 2\n", "    x += 0\n    x *= 2\n    return x\n",
         "passes when examined, but fails in place"),
        ('return {character: text.count(character) for character in set(text)}', "return {}",
         "the instructor's solution fails"),
        (HIDDEN, "try:\n    count('a')\nexcept NotImplementedError:\n    pass",
         "the release passes its hidden tests untouched"),
        (HIDDEN, "from labkit import draws\nassert draws.seed() == draws.PUBLIC_SEED\ncount('a')",
         "from 3 of 3 seeds"),
        ("import labkit\n", "import labkit\n1 / 0\n", "it fails: ZeroDivisionError"),
        ("import labkit\n", "import labkit\n\n# %% killer\nimport os; os._exit(0)\n",
         "ended the notebook's process"),
    ],
)  # fmt: skip
def test_a_fault_that_only_a_run_shows_is_named(
    tmp_path: Path, isolated: Sandbox, old: str, new: str, message: str
) -> None:
    found = _validated(tmp_path, isolated, old, new)
    assert any(message in fault.message for fault in found.faults), found.faults


def test_the_command_ends_with_one_and_names_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "autograder.cli", "validate", "3.1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No such file" in done.stdout
    assert "must not be released like this" in done.stdout
