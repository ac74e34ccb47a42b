"""`course new-lab`: what it writes is a lab as it stands, and nobody's work is overwritten."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autograder import new_lab, release, samples
from autograder.lab import Lab
from autograder.new_lab import CannotMakeLab, Course, Family
from autograder.sandbox import Sandbox
from autograder.validate import validate

ROOT = Path(__file__).parents[2]
TOPICS = ("Importance", "Global vs Local")


def _course(folder: Path) -> Course:
    folder.mkdir(exist_ok=True)
    shutil.copyfile(ROOT / "course_config.py", folder / "course_config.py")
    parts = ("source", "samples", "wrong", "course_config.py")
    return Course(*(folder / part for part in parts))


def _made(folder: Path, family: Family = Family.PRUNING) -> tuple[Lab, Course]:
    lab, course = new_lab.named("3.99", "Throwaway Lab", TOPICS), _course(folder)
    new_lab.make(lab, family, course)
    return lab, course


def _entered(course: Course) -> tuple[Lab, ...]:
    bound: dict[str, Any] = {}
    exec(course.config.read_text(), bound)
    return bound["LABS"]


@pytest.mark.parametrize("family", Family)
def test_a_new_lab_validates_and_releases_as_it_stands(
    tmp_path: Path, isolated: Sandbox, family: Family
) -> None:
    lab, course = _made(tmp_path, family)
    assert lab.folder == "Lab-3.99-Throwaway_Lab"
    assert lab.notebooks == ("01-Importance", "02-Global_vs_Local")
    release.release(lab, course.source, tmp_path / "release")
    assert release.drift(lab, course.source, tmp_path / "release") == []
    found = validate(lab, course.source, isolated, lambda _: None)
    assert found.faults == ()
    assert len(found.trials) == 2


@pytest.mark.parametrize("family", Family)
def test_a_new_lab_is_in_the_form_that_make_check_asks_for(tmp_path: Path, family: Family) -> None:
    _made(tmp_path, family)
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    for package in ("labkit", "reference", "autograder"):  # so that ruff takes them for ours
        (tmp_path / package).symlink_to(ROOT / package)
    parts = ("source", "samples", "wrong", "course_config.py")
    for arguments in (["format", "--check"], ["check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", *parts]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_entry_in_course_config_says_the_same_as_what_was_written(tmp_path: Path) -> None:
    before = _entered(_course(tmp_path))
    lab, course = _made(tmp_path)
    assert _entered(course) == (*before, lab)


def test_the_tuple_of_labs_may_take_several_lines(tmp_path: Path) -> None:
    course = _course(tmp_path)
    before = _entered(course)
    for number in range(60, 72):
        lab = new_lab.named(f"3.{number}", f"Lab {number}", TOPICS)
        new_lab.make(lab, Family.PRUNING, course)
    assert [lab.number for lab in _entered(course)[len(before) :]] == [
        f"3.{number}" for number in range(60, 72)
    ]


def test_its_samples_replace_cells_that_exist(tmp_path: Path) -> None:
    lab, course = _made(tmp_path)
    source = course.source / lab.folder
    release.release(lab, course.source, tmp_path / "release")
    folder = course.samples / lab.folder
    found = [*samples.read_all(folder), *samples.read_all(folder / "calibration")]
    assert [sample.name for sample in found] == ["empty", "instructor", "naive", "unmodified"]
    for sample in found:
        assert sample.strategy
        written = samples.write(sample, source, tmp_path / "release" / lab.folder, tmp_path / "in")
        last = json.loads((written / f"{lab.notebooks[-1]}.ipynb").read_text())
        text = "".join(cell["source"] for cell in last["cells"])
        assert ("int8_static" in text) == (sample.name == "instructor")


@pytest.mark.parametrize("part", ["source", "samples", "wrong"])
def test_a_lab_that_has_any_part_already_is_not_overwritten(tmp_path: Path, part: str) -> None:
    theirs = tmp_path / part / "Lab-3.99-Of_Somebody" / "01-Work.ipynb"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("work")
    with pytest.raises(CannotMakeLab, match=r"Lab-3.99-Of_Somebody exists"):
        _made(tmp_path)
    assert theirs.read_text() == "work"
    assert not list(tmp_path.rglob("*Throwaway*"))


def test_a_number_that_course_config_has_already_is_refused(tmp_path: Path) -> None:
    course = _course(tmp_path)
    with pytest.raises(CannotMakeLab, match="has LAB_3_1 already"):
        new_lab.make(new_lab.named("3.1", "Other", TOPICS), Family.PRUNING, course)
    assert not course.source.exists()


@pytest.mark.parametrize(
    ("number", "title", "topics", "told"),
    [
        ("three", "Fine", TOPICS, "like 3.5, not 'three'"),
        ("3.99", "../Fine", TOPICS, "'../Fine' becomes a file name"),
        ("3.99", "Fine", ("a: b",), "'a: b' becomes a file name"),
        ("3.99", "Fine", ("Same", "Same"), "notebooks of different names"),
        ("3.99", "Fine", (), "notebooks of different names"),
    ],
)
def test_a_name_that_makes_no_file_name_is_refused(
    number: str, title: str, topics: tuple[str, ...], told: str
) -> None:
    with pytest.raises(CannotMakeLab) as refused:
        new_lab.named(number, title, topics)
    assert told in str(refused.value)


def test_what_an_author_has_to_write_is_marked_and_nothing_else_is_missing(tmp_path: Path) -> None:
    lab, course = _made(tmp_path)
    for path in (course.source / lab.folder).iterdir():
        assert "WRITE: " in path.read_text()
        assert "{{" not in path.read_text()
