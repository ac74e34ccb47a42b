"""Claims about Gradescope and otter: the same points in their words, and nothing that leaks."""

import ast
import doctest
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import report_samples
from minilab import STUB, STUB_TEXT
from report_samples import BASIS, GRADER_ROOT, HIDDEN, LAB, graded, not_timed

from autograder import notebook
from autograder.gradescope import harness, results
from autograder.gradescope.bundle import bundle
from autograder.gradescope.checks import check_of, write_checks
from autograder.lab import Limits
from autograder.notebook import SourceCell
from autograder.sandbox import NoSandbox, world
from autograder.sandbox.other_user import OtherUser, usable

STATUSES = {"passed", "failed"}
VISIBILITIES = {"hidden", "after_due_date", "after_published", "visible"}
PYTHON = Path(sys.executable).resolve()
READABLE = all(folder.stat().st_mode & 0o001 for folder in PYTHON.parents)
as_root = pytest.mark.skipif(
    not (usable() and READABLE),
    reason="only root starts processes of another uid, and that uid must be able to read Python",
)


def test_results_are_the_verdict_in_gradescopes_words() -> None:
    one = graded()
    found = results.results(one.evidence, one.verdict)
    tests = found["tests"]
    assert isinstance(tests, list)
    graded_tests = [test for test in tests if "score" in test]
    assert found["score"] == round(one.verdict.points, 2)
    assert sum(test["score"] for test in graded_tests) == pytest.approx(one.verdict.points, abs=0.1)
    assert sum(test["max_score"] for test in graded_tests) == one.verdict.of
    assert all(test["status"] in STATUSES for test in graded_tests)
    assert all(test["visibility"] in VISIBILITIES for test in tests)
    json.dumps(found, allow_nan=False)


def test_what_was_not_graded_says_so_and_is_no_mistake_of_the_students() -> None:
    one = not_timed()
    found = results.results(one.evidence, one.verdict)
    (speed,) = [test for test in found["tests"] if "not graded" in test["name"]]
    assert "our fault" in speed["output"]
    assert found["extra_data"]["open_points"] == 20


def test_no_result_holds_a_hidden_test_a_basis_or_a_path_of_ours() -> None:
    for one in (graded(), not_timed(), report_samples.crashed()):
        text = json.dumps(results.results(one.evidence, one.verdict))
        assert HIDDEN not in text and BASIS not in text and GRADER_ROOT not in text


def test_what_failed_on_our_side_has_no_score() -> None:
    assert "score" not in results.failed("the disk is full")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """As Gradescope lays a container out."""
    source = tmp_path / "source" / "source" / STUB.folder
    source.mkdir(parents=True)
    text = notebook.from_text(STUB_TEXT, STUB.notebooks[0])
    (source / f"{STUB.notebooks[0]}.ipynb").write_text(text)
    (tmp_path / "submission").mkdir()
    (tmp_path / "submission" / f"{STUB.notebooks[0]}.ipynb").write_text(text)
    return tmp_path


def test_a_submission_goes_through_our_rooms(root: Path) -> None:
    found = harness.graded(STUB, root, NoSandbox())
    points = sum(
        cell.points
        for cell in notebook.cells(notebook._parse(_stub_notebook(), "stub"))
        if cell.role == "test"
    )
    assert found["score"] == points
    assert (root / "results" / "course" / "submission.html").is_file()


def _stub_notebook() -> str:
    return notebook.from_text(STUB_TEXT, STUB.notebooks[0])


def test_an_empty_folder_earns_nothing_and_says_why(root: Path) -> None:
    (root / "submission" / f"{STUB.notebooks[0]}.ipynb").unlink()
    found = harness.graded(STUB, root, NoSandbox())
    assert found["score"] == 0
    assert "is not in the submission" in found["output"]


@as_root
def test_another_uid_cannot_read_what_is_roots_and_grades_the_same(root: Path) -> None:
    secret = root / "secret"
    secret.write_text("hidden")
    secret.chmod(0o600)
    for above in (root, *root.parents[:3]):
        above.chmod(0o755)
    path = root / "submission" / f"{STUB.notebooks[0]}.ipynb"
    node = json.loads(path.read_text())
    reading = f"import os\nWHO = os.getuid()\nopen({str(secret)!r}).read()"
    for cell in node["cells"]:
        if cell["id"] == "twice":
            cell["source"] += "\nprint(__import__('os').getuid())"
        if cell["id"] == "words":
            cell["source"] = reading
    path.write_text(json.dumps(node))
    found = harness.graded(STUB, root, OtherUser(root / "models"))
    evidence = (root / "results" / "course" / "evidence" / "submission.jsonl").read_text()
    assert "PermissionError" in evidence
    assert str(world.STUDENT_UID) in evidence
    by_name = {test["name"].rpartition("/")[2]: test for test in found["tests"]}
    assert by_name["test-twice"]["status"] == "passed"
    assert by_name["test-words"]["status"] == "failed"
    assert "another uid" in found["output"]


@pytest.mark.skipif(not usable(), reason="only root gives files to another uid")
def test_a_models_process_reads_its_model_and_no_student_does(tmp_path: Path) -> None:
    for above in (tmp_path, *tmp_path.parents[:3]):
        above.chmod(0o755)
    model = tmp_path / "model.onnx"
    model.write_bytes(b"weights")
    model.chmod(0o600)
    sandbox = OtherUser(tmp_path / "models")
    seen = Path(sandbox.sees("/in/candidate.onnx", model))
    assert seen.read_bytes() == b"weights"
    assert seen.stat().st_uid == world.MODEL_UID
    command = ["setpriv", "--reuid", str(world.STUDENT_UID), "--clear-groups", "cat", str(seen)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    limits = Limits()
    assert world.environment(limits)["OMP_NUM_THREADS"] == str(limits.threads)


@pytest.mark.parametrize("lab", ["3.1"])
def test_the_zip_has_what_gradescope_runs_and_grading_needs(lab: str, tmp_path: Path) -> None:
    import course_config

    (wanted,) = [each for each in course_config.LABS if each.number == lab]
    course = Path(__file__).parents[2]
    path = bundle(wanted, course, tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        modes = {i.filename: i.external_attr >> 16 for i in archive.infolist()}
        scripts = {n: archive.read(n).decode() for n in ("setup.sh", "run_autograder")}
    assert {"setup.sh", "run_autograder", "course_config.py", "constraints.txt"} <= names
    assert f"source/{wanted.folder}/{wanted.notebooks[0]}.ipynb" in names
    assert "reference/quantization/affine.py" in names and "labkit/__init__.py" in names
    assert not any(name.startswith(("tests/", "samples/", ".git/", ".venv/")) for name in names)
    assert all(os.fspath(name) in modes and modes[name] & 0o100 for name in scripts)
    for name, script in scripts.items():
        checked = subprocess.run(["bash", "-n"], input=script, text=True, check=False)
        assert checked.returncode == 0, name
    assert path.read_bytes() == bundle(wanted, course, tmp_path / "b.zip").read_bytes()


def test_a_lab_without_sources_cannot_be_bundled(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="cannot be graded"):
        bundle(LAB, tmp_path, tmp_path / "a.zip")


CELL = SourceCell(
    "test-twice",
    "code",
    """\
assert twice(2) == 4, "twice two is 4"
for x in (1,
          2):
    assert twice(x) == 2 * x
try:
    twice("a", 1)
except TypeError:
    pass
### BEGIN HIDDEN TESTS
assert hidden_oracle()
### END HIDDEN TESTS""",
    "test",
    4,
)


def _run(code: str, scope: dict[str, object]) -> int:
    parsed = doctest.DocTestParser().get_doctest(code, scope, "check", None, 0)
    return doctest.DocTestRunner(verbose=False).run(parsed, out=lambda _: None).failed


def test_a_check_of_otter_is_the_visible_test_and_passes_and_fails_as_it_does() -> None:
    found: dict[str, dict[str, object]] = {}
    exec(compile(ast.parse(check_of(CELL)), "check", "exec"), found)
    test = found["test"]
    code = test["suites"][0]["cases"][0]["code"]
    assert "hidden_oracle" not in code
    assert _run(code, {"twice": lambda x: 2 * x}) == 0
    assert _run(code, {"twice": lambda x: 3 * x}) > 0
    assert (test["name"], test["points"]) == ("test_twice", 4)


def test_checks_are_written_for_every_visible_test(tmp_path: Path) -> None:
    cells = notebook.cells(notebook._parse(_stub_notebook(), "stub"))
    written = write_checks(STUB, {STUB.notebooks[0]: cells}, tmp_path)
    assert len(written) == sum(cell.role == "test" for cell in cells)
    assert not any("no words" in path.read_text() for path in written)
