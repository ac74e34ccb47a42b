"""Claims about what a student does before grading: `course check` and `course submit`."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from minilab import STUB, STUB_TEXT
from typer.testing import CliRunner

from autograder import notebook, release
from autograder.cli import app
from autograder.intake import seal
from autograder.records import Submission
from autograder.student import cli
from autograder.student.check import CannotCheck, check
from autograder.student.pack import CannotPack, pack

NAME = STUB.notebooks[0]
SOLVED = {
    "twice": "def twice(x):\n    return 2 * x",
    "words": "def words(text):\n    return text.split()",
}


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """The stub lab as its students get it."""
    source = tmp_path / "source" / STUB.folder
    source.mkdir(parents=True)
    (source / "README.md").write_text("# Stub\n")
    (source / f"{NAME}.ipynb").write_text(notebook.from_text(STUB_TEXT, NAME))
    release.release(STUB, tmp_path / "source", tmp_path / "release")
    return tmp_path / "release" / STUB.folder


def _write(folder: Path, cells: Mapping[str, str]) -> None:
    path = folder / f"{NAME}.ipynb"
    node = json.loads(path.read_text())
    for cell in node["cells"]:
        if cell["id"] in cells:
            cell["source"] = cells[cell["id"]]
    path.write_text(json.dumps(node))


def _checked(folder: Path) -> dict[str, tuple[bool, str]]:
    found = check(STUB, folder, STUB.notebooks, lambda _: None)
    return {each.id: (each.passed, each.message) for each in found.exercises}


def test_what_is_unsolved_solved_and_wrong_is_told_apart(released: Path) -> None:
    wrong = {"words": "def words(text):\n    return [text]"}
    _write(released, {"twice": SOLVED["twice"]} | wrong)
    found = _checked(released)
    assert found["test-twice"] == (True, "")
    passed, message = found["test-words"]
    assert not passed and message and "Traceback" not in message
    others = set(found) - {"test-twice", "test-words"}
    assert all("NotImplementedError" in found[name][1] for name in others)


def test_the_folder_may_be_called_anything(released: Path) -> None:
    _write(released, SOLVED)
    renamed = released.rename(released.with_name("my lab (copy) é"))
    assert _checked(renamed)["test-twice"] == (True, "")


def test_an_editors_new_cell_ids_change_nothing(released: Path) -> None:
    _write(released, SOLVED)
    path = released / f"{NAME}.ipynb"
    node = json.loads(path.read_text())
    for number, cell in enumerate(node["cells"]):
        cell["id"] = f"renewed-{number}"
    path.write_text(json.dumps(node))
    assert _checked(released)["test-twice"] == (True, "")


def test_a_notebook_that_is_none_of_the_labs_is_named(released: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotCheck, match=r"01-Stub.ipynb is not in"):
        check(STUB, tmp_path / "source", STUB.notebooks, lambda _: None)
    (released / f"{NAME}.ipynb").write_text(
        '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}'
    )
    with pytest.raises(CannotCheck, match="no cell of a released notebook"):
        check(STUB, released, STUB.notebooks, lambda _: None)


def test_what_is_packed_is_what_intake_takes(released: Path, tmp_path: Path) -> None:
    (released / "submission").mkdir()
    (released / "submission" / "model.onnx").write_bytes(b"model")
    (released / "data.bin").write_bytes(bytes(1000))
    (released / ".ipynb_checkpoints").mkdir()
    (released / ".ipynb_checkpoints" / f"{NAME}.ipynb").write_text("{}")
    packed = pack(STUB, released, tmp_path / "ada.zip")
    assert packed.files == (f"{NAME}.ipynb", "README.md", "submission/model.onnx")
    assert packed.sha256 == hashlib.sha256((tmp_path / "ada.zip").read_bytes()).hexdigest()
    sealed = seal(tmp_path / "ada.zip", STUB, tmp_path / "vault")
    assert isinstance(sealed, Submission)
    assert tuple(file.path for file in sealed.files) == packed.files
    assert sealed.findings == ()


def test_packing_again_replaces_the_zip_and_never_packs_it(released: Path) -> None:
    out = released / "mine.zip"
    first = pack(STUB, released, out)
    second = pack(STUB, released, out)
    assert first.files == second.files
    with zipfile.ZipFile(out) as archive:
        assert sorted(archive.namelist()) == list(second.files)


def test_links_do_not_get_in(released: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (released / "notes.txt").symlink_to(tmp_path / "secret.txt")
    packed = pack(STUB, released, tmp_path / "ada.zip")
    assert "notes.txt" not in packed.files
    assert [warning.subject for warning in packed.warnings] == ["notes.txt"]


def test_a_folder_without_the_labs_notebooks_is_nothing_to_hand_in(tmp_path: Path) -> None:
    (tmp_path / "essay.ipynb").write_text("{}")
    with pytest.raises(CannotPack, match=r"holds none of 01-Stub.ipynb"):
        pack(STUB, tmp_path, tmp_path / "x.zip")


def test_both_commands_find_the_lab_by_its_notebooks(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "LABS", (STUB,))
    _write(released, SOLVED)
    done = CliRunner().invoke(app.app, ["check", str(released / f"{NAME}.ipynb")])
    assert done.exit_code == 0, done.output
    assert "visible tests pass" in done.output
    monkeypatch.chdir(released)
    done = CliRunner().invoke(app.app, ["check", f"{NAME}.ipynb"])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app.app, ["submit", "--to", str(tmp_path / "x.zip")])
    assert done.exit_code == 0 and "sha256" in done.output
    done = CliRunner().invoke(app.app, ["check", str(tmp_path)])
    assert isinstance(done.exception, CannotCheck)
    assert "is no lab of this course" in str(done.exception)
