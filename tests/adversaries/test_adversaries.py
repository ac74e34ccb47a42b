"""Every case of the corpus, graded by the real rooms."""

import ast
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autograder import adversaries, cli, sandbox
from autograder.adversaries import Arena, Case
from labkit import data

FOLDER = Path(__file__).parent
CORPUS = adversaries.read(FOLDER)


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    data.fashion_mnist("train")
    found = sandbox.find(allow_unsafe=False)
    return Arena(CORPUS, found, tmp_path_factory.mktemp("arena"), lambda _: None)


@pytest.mark.parametrize("case", CORPUS.cases, ids=lambda case: case.name)
def test_a_case_earns_what_it_is_worth(case: Case, arena: Arena) -> None:
    trial = arena.attempt(case)
    assert trial.held, f"{trial.strategy}\nexpected {trial.expected}\ngot {trial}"


def test_every_case_says_its_strategy_its_source_and_what_is_expected() -> None:
    for case in CORPUS.cases:
        path = FOLDER / f"{case.name}.py"
        docstring = case.sample.strategy
        assert "Source: " in docstring, path
        assert "Expected: " in docstring, path


def test_the_corpus_holds_attacks_and_controls_of_both_kinds() -> None:
    controls = [case for case in CORPUS.cases if case.name.startswith("controls/")]
    attacks = [case for case in CORPUS.cases if case not in controls]
    assert len(attacks) >= 45
    assert sum(case.silent for case in controls) >= 6
    assert sum(bool(case.fails) for case in controls) >= 3


def test_no_attack_expects_all_points() -> None:
    """An attack that needs no defence is no attack: what it forges must be lost, or be hidden."""
    for case in CORPUS.cases:
        if not case.silent:
            assert case.fails or case.worthless or case.refused or case.hides or case.says, (
                case.name
            )


def test_the_table_of_attacks_is_complete() -> None:
    page = (FOLDER.parents[1] / "docs" / "attacks.md").read_text("utf-8")
    assert adversaries.table(CORPUS) in page, (
        "put `course adversaries --table` into docs/attacks.md"
    )


def test_a_case_that_does_not_hold_says_so(arena: Arena) -> None:
    honest = next(case for case in CORPUS.cases if case.name == "controls/correct")
    trial = arena.attempt(replace(honest, fails=("test-mean",), says="a word that nobody says"))
    assert not trial.held
    assert "test-mean passed" in trial.got
    assert "no finding says" in trial.got


def test_the_command_prints_each_case_and_fails_where_one_does_not_hold(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "corpus")
    wrong = tmp_path / "corpus" / "controls" / "correct.py"
    wrong.write_text(wrong.read_text("utf-8") + '\nFAILS = ("test-mean",)\n', encoding="utf-8")
    arguments = ["adversaries", "--json", "--only", "controls/corr"]
    done = CliRunner().invoke(cli.app.app, [*arguments, "--folder", str(tmp_path / "corpus")])
    (said,) = json.loads(done.stdout)
    assert said["name"] == "controls/correct"
    assert not said["held"]
    assert done.exit_code == 1
    assert CliRunner().invoke(cli.app.app, [*arguments, "--folder", str(FOLDER)]).exit_code == 0


def test_cases_are_python_that_can_be_read() -> None:
    for case in CORPUS.cases:
        head = (FOLDER / f"{case.name}.py").read_text("utf-8").partition("\n# %% ")[0]
        ast.parse(head)
