"""What people read when something is wrong: one paragraph, an exit code, no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest
import report_samples

from autograder import evidence
from autograder.cli import main

ROOT = Path(__file__).parents[2]
COMMANDS = (
    *("new-lab", "validate", "mutants", "calibrate", "release", "notebook"),
    *("collect", "grade", "regrade", "verify", "gradebook", "decide", "export", "site"),
    *("doctor", "demo", "adversaries", "check", "submit"),
)
EXPORTS = ("csv", "json", "canvas", "moodle", "gradescope", "otter")


@pytest.fixture
def course(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The command, in this process: (exit code, what it said on one line)."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["course", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        # the frame breaks lines where the paths in them happen to end
        return int(ended.value.code or 0), " ".join((said.out + said.err).replace("│", " ").split())

    monkeypatch.chdir(ROOT)
    return run


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["grade", "9.9", "source"], "there is no lab '9.9'; there are 3.1"),
        (["grade", "3.1", "no-such-folder"], "no-such-folder is not a folder"),
        (["release", "7"], "there is no lab '7'"),
        (["publish"], "No such command 'publish'"),
        (["notebook", "from-text", "README.md"], "a cell has no id"),
        (["notebook", "normalise", "none.ipynb"], "none.ipynb"),
        (
            ["mutants", "3.1", "--folder", "docs"],
            "docs/Lab-3.1-Post_Training_Quantization does not",
        ),
        (["mutants", "3.1", "--only", "none-such"], "and none is called 'none-such'"),
        (["new-lab", "3.1", "A", "--family", "pruning", "--notebook", "B"], "exists; remove it or"),
        (["collect", "3.1", "no-such.zip"], "no-such.zip is not there"),
        (["collect", "3.1", ".ci", "--into", "{tmp}"], "holds nothing that was handed in"),
        (["collect", "3.1", ".ci", "--from", "blackboard"], "'blackboard' is not one of"),
        (["regrade", "3.1", "--out", "{tmp}"], "there is no evidence in"),
        (["regrade", "3.1", "--out", "{other}"], "is evidence of Lab-3.0-Other, expected Lab-3.1"),
        (["verify", "3.1", "README.md"], "README.md is no evidence"),
        (["gradebook", "3.1", "--out", "{tmp}", "--course", "{tmp}/c"], "there is no evidence in"),
        (
            ["gradebook", "3.1", "--out", "{tmp}", "--course", "{tmp}/c", "--db", "nonsense"],
            "the gradebook nonsense cannot be opened",
        ),
        (["decide", "3.1", "ada", "--reason", "r", "--out", "{tmp}"], "there is no evidence in"),
        (["decide", "3.1", "ada", "--out", "{tmp}"], "Missing option '--reason'"),
        (["export", "csv", "3.1", "--out", "{tmp}"], "there is no evidence in"),
        (["export", "blackboard", "3.1"], "No such command 'blackboard'"),
        (["site", "{tmp}"], "or `course regrade` writes it"),
        (["check", "docs"], "is no lab of this course"),
        (["submit", "docs"], "is no lab of this course"),
        (["demo", "7"], "there is no lab '7'"),
        (["calibrate", "7"], "there is no lab '7'"),
        (["validate", "7"], "there is no lab '7'"),
    ],
)
def test_bad_input_is_one_paragraph_that_names_it(
    arguments: list[str], told: str, course, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    one = report_samples.graded().evidence
    lab = report_samples.replace(one.submission, lab="Lab-3.0-Other")
    evidence.write(report_samples.replace(one, submission=lab), other / "evidence" / "ada.jsonl")
    given = [each.format(tmp=tmp_path, other=other) for each in arguments]
    code, said = course(*given)
    assert code != 0
    assert told in said
    assert "Traceback" not in said


def test_help_names_every_command_and_fits_a_screen(course, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    code, said = course("--help")
    assert code == 0
    assert all(f" {command} " in said for command in COMMANDS)
    assert all(f" {command} " in course("export", "--help")[1] for command in EXPORTS)


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "autograder.cli", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) <= 50


def test_an_empty_folder_of_submissions_is_said_to_be_empty(course, tmp_path: Path) -> None:
    code, said = course("grade", "3.1", str(tmp_path), "--out", str(tmp_path / "out"))
    assert code != 0
    assert "holds no submissions" in said


def test_with_debug_an_error_shows_where_it_came_from(course, monkeypatch) -> None:
    monkeypatch.delenv("COURSE_DEBUG", raising=False)
    monkeypatch.setattr(sys, "argv", ["course", "--debug", "check", "docs"])
    from autograder.student.check import CannotCheck

    with pytest.raises(CannotCheck):
        main()
    monkeypatch.delenv("COURSE_DEBUG", raising=False)
