"""The registry of wrong solutions: what a file may say, and what comes out when it is tried."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autograder import mutants, notebook, registry
from autograder.cli import app, making
from autograder.lab import MIB, Intake, Lab, Limits
from autograder.mutants import Bench, Trial
from autograder.records import Exercise
from autograder.registry import RegistryError, Solution
from autograder.sandbox import Sandbox

NAME = "01-Halves"
TEXT = """# %% given
import math

print("costly plots")

# %% half role="solution"
SHARE = 0.5


def half(x: float) -> float:
    ### BEGIN SOLUTION
    return x * SHARE
    ### END SOLUTION


def twice(x: float) -> float:
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% test-half role="test" points=2
assert half(2.0) == 1.0, "half of two is 1"
### BEGIN HIDDEN TESTS
from labkit import draws

x = 1.5 + draws.seed() % 3
assert half(x) == x / 2, "half does not hold for a number that is not whole"
assert twice(4.0) == 8.0, "twice four is 8"
### END HIDDEN TESTS

# %% quarter role="solution"
def quarter(x: float) -> float:
    ### BEGIN SOLUTION
    return half(half(x))
    ### END SOLUTION

# %% test-quarter role="test" points=2
assert quarter(4.0) == 1.0, "a quarter of four is 1"
### BEGIN HIDDEN TESTS
assert quarter(10.0) == 2.5, "a quarter of ten is 2.5"
### END HIDDEN TESTS

# %% after
assert math.pi > 3, quarter(1.0)
"""
LAB = Lab(
    number="0.5",
    slug="Halves",
    title="Halves",
    notebooks=(NAME,),
    datasets=(),
    limits=Limits(wall_clock_s=60, cell_s=20, call_s=5),
    intake=Intake(file_bytes=2 * MIB, total_bytes=4 * MIB, files=20),
)
SQUARE = "def half(x):\n    return x * x"


def _file(folder: Path, text: str, name: str = "attempt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder / f"{name}.py"


def _sources() -> dict[str, list[notebook.SourceCell]]:
    node = notebook.nbformat.reads(notebook.from_text(TEXT, NAME), as_version=4)
    return {NAME: notebook.cells(node)}


def _read(folder: Path, claim: str, code: str, why: str = "Why.") -> Solution:
    return registry.read(_file(folder, f'"""{why}"""\n\n# {claim}\n{code}\n'), _sources())


@pytest.mark.parametrize(
    ("claim", "code", "told"),
    [
        ("wrong: 01/test-half", "def half(x", "is not Python"),
        ("note", SQUARE, "makes 0 claims; it needs one line"),
        ("wrong: 01/test-half\n# right: 01", SQUARE, "makes 2 claims"),
        ("wrong: 01", SQUARE, "a claim is `# wrong: 01/test-scale`"),
        ("right: 01/test-half", SQUARE, "a claim is"),
        ("right: 01\n# carries: test-quarter", SQUARE, "a claim is"),
        ("wrong: 07/test-half", SQUARE, "names the notebook '07'; there are 01"),
        ("wrong: 01/test-haf", SQUARE, "the test cell 'test-haf'; its notebook has test-half"),
        ("wrong: 01/test-half\n# carries: test-x", SQUARE, "the test cell 'test-x'"),
        ("wrong: 01/test-half", "def halve(x):\n    return x", "it can replace SHARE, half"),
        ("wrong: 01/test-half", "def quarter(x):\n    return x", "use nothing of quarter"),
    ],
)
def test_a_file_that_cannot_be_tried_is_one_sentence_that_names_it(
    tmp_path: Path, claim: str, code: str, told: str
) -> None:
    with pytest.raises(RegistryError) as refused:
        _read(tmp_path, claim, code)
    assert told in str(refused.value)
    assert str(tmp_path / "attempt.py") in str(refused.value)


def test_a_file_without_a_docstring_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="has no docstring"):
        registry.read(_file(tmp_path, f"# right: 01\n{SQUARE}"), _sources())


def test_a_file_replaces_the_functions_that_it_defines_and_leaves_the_others(
    tmp_path: Path,
) -> None:
    found = _read(tmp_path, "wrong: 01/test-half", f"import cmath\n\n\n{SQUARE}")
    assert list(found.cells) == ["half"]
    made: dict[str, object] = {}
    exec(found.cells["half"], made)
    assert made["half"](3) == 9  # type: ignore[operator]
    assert made["twice"](3) == 6  # type: ignore[operator]
    assert made["cmath"] is not None
    assert "# wrong" not in found.cells["half"]


def test_a_file_may_change_functions_of_several_cells_and_a_constant(tmp_path: Path) -> None:
    code = "SHARE = 0.25\n\n\ndef quarter(x):\n    return half(x)"
    found = _read(tmp_path, "wrong: 01/test-half", code)
    assert set(found.cells) == {"half", "quarter"}
    assert "SHARE = 0.25" in found.cells["half"]
    assert "SHARE = 0.5" not in found.cells["half"]


def _rounds(*failing: Sequence[str]) -> list[dict[str, Exercise]]:
    tests = ("test-half", "test-quarter")
    return [
        {t: Exercise(NAME, t, 2, t not in lost, "" if t not in lost else "no") for t in tests}
        for lost in failing
    ]


def _judged(loses: tuple[str, ...], carries: tuple[str, ...], *failing: Sequence[str]) -> Trial:
    return mutants.judged(Solution("s", "", NAME, loses, carries, {}), _rounds(*failing))


@pytest.mark.parametrize(
    ("loses", "carries", "failing", "got"),
    [
        (("test-half",), (), (["test-half"],) * 3, "caught"),
        (("test-half",), (), ([],) * 3, "caught nowhere by test-half"),
        (("test-half",), (), (["test-half"], [], ["test-half"]), "from 2 of 3 seeds only"),
        (("test-half",), (), (["test-half", "test-quarter"],) * 3, "elsewhere too: test-quarter"),
        (("test-half",), ("test-quarter",), (["test-half", "test-quarter"],) * 3, "caught"),
        (("test-half",), ("test-quarter",), (["test-half"],) * 3, "nowhere by test-quarter"),
        ((), (), ([],) * 3, "keeps all points"),
        ((), (), ([], [], ["test-quarter"]), "loses points at test-quarter"),
    ],
)
def test_a_claim_must_come_true_from_every_seed(
    loses: tuple[str, ...], carries: tuple[str, ...], failing: Sequence[Sequence[str]], got: str
) -> None:
    trial = _judged(loses, carries, *failing)
    assert got in trial.got
    assert trial.held == (trial.got in ("caught", "keeps all points"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("halves") / "source"
    (folder / LAB.folder).mkdir(parents=True)
    text = notebook.from_text(TEXT, NAME)
    (folder / LAB.folder / f"{NAME}.ipynb").write_text(text, encoding="utf-8")
    return folder


FILES = {
    "squares": ("wrong: 01/test-half\n# carries: test-quarter", SQUARE),
    "squares_undeclared": ("wrong: 01/test-half", SQUARE),
    "twice_is_thrice": ("wrong: 01/test-half", "def twice(x):\n    return 3 * x"),
    "ends_the_process": (
        "wrong: 01/test-quarter",
        "import os\n\n\ndef quarter(x):\n    os._exit(0)",
    ),
    "by_division": ("right: 01", "def half(x):\n    return math.ldexp(x, -1)"),
    "quarter_wrong_called_right": ("right: 01", "def quarter(x):\n    return half(x)"),
}
HELD = {"squares", "twice_is_thrice", "ends_the_process", "by_division"}


@pytest.mark.parametrize("whole", [False, True])
def test_the_real_rooms_take_points_from_what_is_wrong_alone(
    tmp_path: Path, source: Path, isolated: Sandbox, whole: bool
) -> None:
    for name, (claim, code) in FILES.items():
        _file(tmp_path, f'"""Why."""\n\n# {claim}\n{code}\n', name)
    bench = Bench(LAB, _sources(), source, isolated, 2, whole)
    found = list(mutants.trials(bench, registry.read_all(tmp_path, bench.sources)))
    assert [trial.name for trial in found] == sorted(FILES)
    assert {trial.name for trial in found if trial.held} == HELD
    lost = {trial.name: dict(trial.lost) for trial in found}
    assert lost["twice_is_thrice"] == {"test-half": "twice four is 8"}
    assert "ended the notebook's process" in lost["ends_the_process"]["test-quarter"]


def test_what_only_some_draws_catch_is_no_truth(
    tmp_path: Path, source: Path, isolated: Sandbox
) -> None:
    code = "def half(x):\n    return 0.0 if x == 2.5 else x / 2"
    solution = _read(tmp_path, "wrong: 01/test-half\n# carries: test-quarter", code)
    (trial,) = mutants.trials(Bench(LAB, _sources(), source, isolated, 2), [solution])
    assert not trial.held
    assert "of 3 seeds only" in trial.got


def test_nothing_is_judged_where_the_instructors_own_solution_fails(
    source: Path, isolated: Sandbox
) -> None:
    sources = _sources()
    broken = [
        notebook.SourceCell(c.id, c.kind, c.source.replace("== 8.0", "== 9.0"), c.role, c.points)
        for c in sources[NAME]
    ]
    bench = Bench(LAB, {NAME: broken}, source, isolated, 2)
    with pytest.raises(RegistryError, match=r"test-half: the instructor's own solution loses"):
        list(mutants.trials(bench, [Solution("s", "", NAME, ("test-half",), (), {})]))


def test_the_command_says_what_came_out_and_fails_where_a_claim_does(
    tmp_path: Path, source: Path, isolated: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "LABS", (LAB,))
    monkeypatch.setattr(making, "SOURCE", source)
    for name in ("squares", "squares_undeclared"):
        claim, code = FILES[name]
        _file(tmp_path / LAB.folder, f'"""Why."""\n\n# {claim}\n{code}\n', name)
    arguments = ["mutants", "0.5", "--json", "--folder", str(tmp_path)]
    done = CliRunner().invoke(app.app, arguments)
    said = {trial["name"]: trial for trial in json.loads(done.stdout)}
    assert done.exit_code == 1
    assert said["squares"]["held"] and not said["squares_undeclared"]["held"]
    assert said["squares_undeclared"]["got"] == "loses elsewhere too: test-quarter"
    table = CliRunner().invoke(app.app, ["mutants", "0.5", "--folder", str(tmp_path)])
    assert "1 of 2 solutions came out as they claim." in table.stdout
    assert table.exit_code == 1
