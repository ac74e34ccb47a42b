"""What an instructor reads when something is wrong: one paragraph, an exit code, no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _course(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autograder.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _told(done: subprocess.CompletedProcess[str]) -> str:
    """What it said, on one line: the frame breaks lines where the paths in them happen to end."""
    return " ".join((done.stdout + done.stderr).replace("│", " ").split())


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
    ],
)
def test_bad_input_is_one_paragraph_that_names_it(arguments: list[str], told: str) -> None:
    done = _course(*arguments)
    text = _told(done)
    assert done.returncode != 0
    assert told in text
    assert "Traceback" not in text


def test_help_names_every_command() -> None:
    text = _course("--help").stdout
    assert all(command in text for command in ("release", "grade", "demo", "notebook", "validate"))


def test_an_empty_folder_of_submissions_is_said_to_be_empty(tmp_path: Path) -> None:
    done = _course("grade", "3.1", str(tmp_path), "--out", str(tmp_path / "out"))
    assert done.returncode != 0
    assert "holds no submissions" in _told(done)
