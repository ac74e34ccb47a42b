"""Grade one class with this grader, with nbgrader and with otter, in one run.

    python -m bench.grading [--json]

One notebook that imports torch and computes next to nothing, three exercises with hidden tests;
every third student answers one of them wrongly. Each grader runs as its user runs it, in a process
of its own, on a class of one and on a class of all: the difference is the time of a submission
after the first. Memory is the largest sum of proportional set sizes over the process tree.
Needs `make setup`; otter's environment is made under .peers/ on first use.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from autograder import classrun, grade, notebook, sandbox
from autograder.lab import Lab
from bench.peers.environments import python_of

NAME, STUDENTS, SAMPLE_S = "01-Bench", 12, 0.1
WRONG = "def mean(x):\n    return x.sum()\n"
EXERCISES = (
    (
        "twice",
        "def twice(x):\n    return x * 2\n",
        "assert twice(3) == 6",
        "assert twice(-1.5) == -3",
    ),
    (
        "mean",
        "def mean(x):\n    return x.sum() / x.numel()\n",
        "assert mean(torch.ones(1)) == 1",
        "assert mean(torch.tensor([1.0, 2.0, 6.0])) == 3",
    ),
    (
        "flip",
        "def flip(x):\n    return x[::-1]\n",
        "assert flip([1, 2]) == [2, 1]",
        "assert flip([3, 1, 4]) == [4, 1, 3]",
    ),
)
LAB = Lab("0.6", "Bench", "A class to grade", (NAME,), datasets=(), artefact=None)


@dataclass(frozen=True)
class Grading:
    """What one grader took for the class, in seconds and bytes."""

    grader: str
    first_s: float  # a class of one
    each_s: float  # every further submission
    peak_bytes: int
    scores: tuple[float, ...]

    @property
    def per_hour(self) -> float:
        return 3600 / self.each_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        grade_ours(arguments.ours)
        return
    with tempfile.TemporaryDirectory() as work:
        found = [
            measured("course grade", prepare_ours, Path(work) / "ours", STUDENTS),
            measured("nbgrader autograde", prepare_nbgrader, Path(work) / "nbgrader", STUDENTS),
            measured("otter run", prepare_otter, Path(work) / "otter", 4),
        ]
    if arguments.json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    else:
        print(table(found))
    for each in found:
        assert each.scores == found[0].scores[: len(each.scores)], "the graders do not agree"


def table(found: Sequence[Grading]) -> str:
    peer = next(each for each in found if each.grader.startswith("nbgrader"))
    rows = [
        "| grader | first submission | each further | per hour | rate to nbgrader | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {each.grader} | {each.first_s:.1f} s | {each.each_s:.2f} s | {each.per_hour:.0f} | "
        f"{each.per_hour / peer.per_hour:.1f}x | {each.peak_bytes / 1024**2:.0f} MiB |"
        for each in found
    ]
    return "\n".join(rows)


Commands = list[tuple[list[str], Path]]  # command lines, and where each is run
Scores = Callable[[], tuple[float, ...]]


def measured(
    name: str, prepare: Callable[[Path, int], tuple[Commands, Scores]], folder: Path, count: int
) -> Grading:
    seconds, peaks, scores = [], [], tuple[float, ...]()
    for students in (1, count):
        commands, read = prepare(folder / str(students), students)
        start = time.monotonic()
        peaks.append(max(peak_of(command, where) for command, where in commands))
        seconds.append(time.monotonic() - start)
        scores = read()
    each = (seconds[1] - seconds[0]) / (count - 1)
    return Grading(name, seconds[0], each, max(peaks), scores)


def peak_of(command: list[str], where: Path) -> int:
    """Run it, and give the largest memory of its process tree."""
    environment = {**os.environ, "PATH": f"{Path(command[0]).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        command, cwd=where, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    largest = [0]
    watcher = threading.Thread(target=_watch, args=(process.pid, largest))
    watcher.start()
    said, _ = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{said.decode()[-3000:]}")
    return largest[0]


def _watch(pid: int, largest: list[int]) -> None:
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            largest[0] = max(largest[0], sum(map(_memory_of, [root, *root.children(True)])))
            time.sleep(SAMPLE_S)


def _memory_of(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0


def solutions(student: int) -> dict[str, str]:
    answers = {name: solution for name, solution, _, _ in EXERCISES}
    return answers | ({"mean": WRONG} if student % 3 == 2 else {})


def text() -> str:
    """The notebook in this project's source form, which nbgrader reads too."""
    cells = ["# %% imports\nimport torch\n"]
    for name, solution, visible, hidden in EXERCISES:
        cells.append(
            f'# %% {name} role="solution"\n### BEGIN SOLUTION\n{solution}### END SOLUTION\n'
        )
        cells.append(
            f'# %% test-{name} role="test" points=2\n{visible}\n'
            f"### BEGIN HIDDEN TESTS\n{hidden}\n### END HIDDEN TESTS\n"
        )
    return "\n".join(cells)


def write_notebook(path: Path, answers: dict[str, str]) -> None:
    document = json.loads(notebook.from_text(text(), NAME))
    for cell in document["cells"]:
        cell["source"] = answers.get(cell["id"], cell["source"])
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document), encoding="utf-8")


def write_source(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / f"{NAME}.ipynb").write_text(notebook.from_text(text(), NAME), encoding="utf-8")


def prepare_ours(folder: Path, count: int) -> tuple[Commands, Scores]:
    write_source(folder / "source" / LAB.folder)
    for student in range(count):
        write_notebook(folder / "in" / f"s{student:02}" / f"{NAME}.ipynb", solutions(student))
    command = [sys.executable, "-m", "bench.grading", "--ours", str(folder)]
    return [(command, Path.cwd())], lambda: tuple(json.loads((folder / "scores").read_text()))


def grade_ours(folder: Path) -> None:
    isolated, out = sandbox.find(allow_unsafe=False), folder / "out"

    def tell(what: str) -> None:
        print(what)

    result = classrun.grade_class(
        folder / "in",
        LAB,
        lambda: grade.prepare(LAB, folder / "source", isolated, out, tell),
        out,
        tell,
    )
    points = [item.verdict.points for item in sorted(result.graded, key=lambda g: g.student)]
    (folder / "scores").write_text(json.dumps(points), encoding="utf-8")


def prepare_nbgrader(folder: Path, count: int) -> tuple[Commands, Scores]:
    write_source(folder / "source" / "ps1")
    for student in range(count):
        path = folder / "submitted" / f"s{student:02}" / "ps1" / f"{NAME}.ipynb"
        write_notebook(path, solutions(student))
    nbgrader = str(Path(sys.executable).parent / "nbgrader")
    generate = [nbgrader, "generate_assignment", "ps1", "--create", "--force"]
    peak_of(generate, folder)

    def scores() -> tuple[float, ...]:
        from nbgrader.api import Gradebook

        with Gradebook(f"sqlite:///{folder}/gradebook.db") as book:
            handed_in = book.assignment_submissions("ps1")
            return tuple(s.score for s in sorted(handed_in, key=lambda s: s.student.id))

    return [([nbgrader, "autograde", "ps1", "--create"], folder)], scores


def prepare_otter(folder: Path, count: int) -> tuple[Commands, Scores]:
    otter = str(python_of("otter").parent / "otter")
    (folder / "tests").mkdir(parents=True)
    for name, _, visible, hidden in EXERCISES:
        _write_otter_test(folder / "tests" / f"{name}.py", name, visible, hidden)
    peak_of([otter, "generate", "-t", "tests", "-o", "autograder.zip", "--no-environment"], folder)
    commands = []
    for student in range(count):
        path = folder / f"s{student:02}" / f"{NAME}.ipynb"
        write_notebook(path, solutions(student))
        given = [otter, "run", "-a", "../autograder.zip", path.name, "-o", "."]
        commands.append((given, path.parent))

    def scores() -> tuple[float, ...]:
        found = [folder / f"s{student:02}" / "results.json" for student in range(count)]
        tests = [json.loads(path.read_text())["tests"] for path in found]
        return tuple(sum(test.get("score", 0) for test in each) for each in tests)

    return commands, scores


def _write_otter_test(path: Path, name: str, visible: str, hidden: str) -> None:
    cases = [
        {"code": f">>> {code}", "hidden": secret, "locked": False, "points": 0 if not secret else 2}
        for code, secret in ((visible, False), (hidden, True))
    ]
    suite = {"cases": cases, "scored": True, "setup": "", "teardown": "", "type": "doctest"}
    test = {"name": name, "points": None, "suites": [suite]}
    path.write_text(f"OK_FORMAT = True\ntest = {test!r}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
