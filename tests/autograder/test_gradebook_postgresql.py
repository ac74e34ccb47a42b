"""The gradebook on PostgreSQL, in a server that lives as long as these tests."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from report_samples import LAB, STATIC
from test_gradebook import REFLECTION, SOURCES, out  # noqa: F401 (a fixture)

from autograder.book.standing import standing
from autograder.gradebook.sync import sync

pytestmark = pytest.mark.slow  # it needs Debian's package postgresql, which setup does not install
PROGRAMS = Path("/usr/lib/postgresql")
USER = "postgres"  # the server refuses to run as root


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    found = sorted(PROGRAMS.glob("*/bin/pg_ctl"))
    if not found:
        pytest.fail("PostgreSQL is not there: apt-get install postgresql")
    folder = tmp_path_factory.mktemp("postgresql")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)
    shutil.chown(folder, USER)
    control, data = str(found[-1]), folder / "data"
    as_user = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
    subprocess.run([*as_user, control, "-D", str(data), "-o", "-A trust", "init"], check=True)
    options = f"-c listen_addresses= -k {folder}"
    start = [*as_user, control, "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options]
    subprocess.run([*start, "start"], check=True)
    yield f"postgresql+psycopg://{USER}@/postgres?host={folder}"
    subprocess.run([*as_user, control, "-D", str(data), "-m", "immediate", "stop"], check=True)


def test_points_and_scores_go_both_ways(out: Path, tmp_path: Path, url: str) -> None:  # noqa: F811
    course = sync(LAB, SOURCES, out, tmp_path / "course", url).course
    with closing(Gradebook(url)) as book:
        for total in standing(LAB, out).totals:
            submission = book.find_submission(LAB.folder, total.student)
            assert submission.score == pytest.approx(total.points)
        book.find_grade("reflection", STATIC, LAB.folder, "ada").manual_score = 7.0
        book.db.commit()
    (taken,) = sync(LAB, SOURCES, out, course, url).taken
    assert (taken.student, taken.about, taken.points) == ("ada", REFLECTION, 7.0)
    assert url in (course / "nbgrader_config.py").read_text(encoding="utf-8")
    assert not (course / "gradebook.db").exists()
