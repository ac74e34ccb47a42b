"""What the grader's tests share: the mini lab, its source and release, and a prepared grader."""

from collections.abc import Callable
from pathlib import Path

import minilab
import pytest

from autograder import grade, notebook, release, sandbox
from autograder.grade import Grader
from autograder.intake import seal
from autograder.records import Evidence, Submission
from autograder.samples import Sample, write
from autograder.sandbox import Sandbox
from labkit import data


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return minilab.write_source(tmp_path_factory.mktemp("course") / "source")


@pytest.fixture(scope="session")
def released(source: Path) -> Path:
    release.release(minilab.LAB, source, source.parent / "release")
    return source.parent / "release"


@pytest.fixture(scope="session")
def cells(source: Path) -> list[notebook.SourceCell]:
    return notebook.read(source / minilab.LAB.folder / f"{minilab.NAME}.ipynb")


@pytest.fixture(scope="session")
def isolated() -> Sandbox:
    """A sandbox, and the data that its processes read in the cache."""
    data.cifar10("train")
    return sandbox.find(allow_unsafe=False)


@pytest.fixture(scope="session")
def grader(source: Path, isolated: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Grader:
    out = tmp_path_factory.mktemp("baseline")
    return grade.prepare(minilab.LAB, source, isolated, out, lambda _: None)


@pytest.fixture(scope="session")
def stub_grader(
    source: Path, isolated: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Grader:
    """For the lab of exercises alone: ready at once, for there is nothing to measure."""
    out = tmp_path_factory.mktemp("stub")
    return grade.prepare(minilab.STUB, source, isolated, out, lambda _: None)


@pytest.fixture
def hand_in(source: Path, released: Path, tmp_path: Path) -> Callable[[dict[str, str]], Submission]:
    """A sealed submission: the instructor's solution with some cells replaced, by id."""

    def make(replaced: dict[str, str]) -> Submission:
        cells = {(minilab.NAME, cell_id): text for cell_id, text in replaced.items()}
        sample = Sample("student", "", False, cells)
        lab = minilab.LAB
        folder = write(sample, source / lab.folder, released / lab.folder, tmp_path / "handed-in")
        sealed = seal(folder, lab, tmp_path / "sealed")
        assert isinstance(sealed, Submission)
        return sealed

    return make


@pytest.fixture
def graded(
    hand_in: Callable[[dict[str, str]], Submission], grader: Grader, tmp_path: Path
) -> Callable[[dict[str, str]], Evidence]:
    def make(replaced: dict[str, str]) -> Evidence:
        return grade.grade(hand_in(replaced), grader, tmp_path / "out", lambda _: None)

    return make
