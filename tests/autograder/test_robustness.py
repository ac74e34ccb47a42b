"""What survives a kill -9, a torn file, a second grader, a busy machine and a hostile class."""

import hashlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import minilab
import pytest
import torch
from grader_process import (
    descendants,
    grade_in_the_sandbox,
    grade_instantly,
    started,
)

from autograder import classrun, evidence, grade, measure, notebooks
from autograder.baseline import Baseline
from autograder.files import AlreadyGrading, alone_in
from autograder.grade import Grader
from autograder.intake import seal
from autograder.lab import MIB, Requirement
from autograder.latency import NoiseCertificate
from autograder.notebooks import Ran
from autograder.records import Artefact, Evidence, Interval, Measurement, Notebook, Submission
from autograder.ruler import DoesNotRun, Ruler, TooSlow
from autograder.sandbox import NoSandbox, SandboxUnavailable
from autograder.standing import held_against, may_settle, stands

STUDENTS = ("anna", "ben", "cem", "dora", "emil")
FOUND_BY = "in-the-cell"  # the name that a process of a student gives itself


@pytest.fixture
def course(tmp_path: Path) -> Path:
    return new_course(tmp_path)


def new_course(folder: Path, students: tuple[str, ...] = STUDENTS, **replaced: str) -> Path:
    minilab.write_source(folder / "source")
    for student in students:
        minilab.hand_in_stub(folder / "in", student, replaced)
    return folder


def run_to_the_end(course: Path, target: Callable[..., None], *arguments: Any) -> list[Any]:
    """What the grader said. It must end well."""
    said = []
    with started(target, course, *arguments) as (process, pipe):
        while True:
            try:
                said.append(pipe.recv())
            except EOFError:
                break
        process.join()
        assert process.exitcode == 0
    return said


def settled_files(course: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (course / "out/evidence").glob("*.jsonl")}


def assert_settled_stays(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    """Whoever has evidence keeps it, byte for byte: nobody is graded twice."""
    assert {student: after.get(student) for student in before} == before


def assert_complete(course: Path, students: tuple[str, ...], points: float) -> None:
    """One whole evidence file for each, of what was handed in, and nothing else left over."""
    out = course / "out"
    assert set(settled_files(course)) == set(students)
    for student in students:
        found = evidence.read(out / "evidence" / f"{student}.jsonl")
        handed_in = seal(course / "in" / student, minilab.STUB, course / "again")
        assert isinstance(handed_in, Submission)
        assert found.submission.receipt == handed_in.receipt
        for file in found.submission.files:
            kept = (out / "sealed" / student / file.path).read_bytes()
            assert hashlib.sha256(kept).hexdigest() == file.sha256
        assert sum(one.points for one in found.exercises if one.passed) == points
    assert {path.stem for path in out.glob("*.html")} == {*students, "index"}
    assert not list(out.rglob("*.partial"))


def test_a_grader_killed_at_any_step_loses_nobody_and_grades_nobody_twice(tmp_path: Path) -> None:
    """100 kills, each at a step drawn from all that a class run does with files."""
    draw, kills, classes = random.Random(4), 0, 0
    (_, steps), *_ = reversed(run_to_the_end(new_course(tmp_path / "dry"), grade_instantly, 0, 0))
    while kills < 100:
        course, done = new_course(tmp_path / f"class-{classes}"), False
        classes += 1
        settled: dict[str, bytes] = {}
        while not done:
            with started(grade_instantly, course, draw.randint(1, steps), 0) as (process, _):
                process.join()
                done = process.exitcode == 0
                assert process.exitcode in (0, -signal.SIGKILL)
            kills += not done
            after = settled_files(course)
            assert_settled_stays(settled, after)
            settled = after
        assert_complete(course, STUDENTS, points=7)
    assert classes >= 5  # kills fell at every stage, and not all of them at the first one


@pytest.mark.parametrize("victim", ["grader", "worker", "supervisor"])
def test_a_killed_process_costs_no_student_a_point(victim: str, tmp_path: Path) -> None:
    """It is killed while a student's cell runs; the class run goes on, or is started again."""
    course = new_course(tmp_path, ("anna", "ben"), twice=slow_cell())
    with started(grade_in_the_sandbox, course) as (process, pipe):
        worker = in_the_cell(process.pid)
        family = descendants(process.pid)
        killed = {"grader": process.pid, "worker": worker, "supervisor": family[0]}[victim]
        os.kill(killed, signal.SIGKILL)
        while victim != "grader" and process.is_alive():
            drained(pipe)
        process.join()
        assert process.exitcode == (-signal.SIGKILL if victim == "grader" else 0)
    assert wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family))
    before = settled_files(course)
    run_to_the_end(course, grade_in_the_sandbox)
    assert_settled_stays(before, settled_files(course))
    assert_complete(course, ("anna", "ben"), points=7)


@pytest.mark.slow
def test_a_hundred_kills_of_any_process_at_any_time(tmp_path: Path) -> None:
    draw, kills, classes = random.Random(5), 0, 0
    while kills < 100:
        course, done = new_course(tmp_path / f"class-{classes}", STUDENTS[:3]), False
        classes += 1
        settled: dict[str, bytes] = {}
        while not done:
            with started(grade_in_the_sandbox, course) as (process, pipe):
                process.join(draw.uniform(0, 8))
                family = descendants(process.pid) if process.is_alive() else []
                if process.is_alive():
                    chosen = draw.choice([process.pid, process.pid, *family])
                    kills += killed_now(chosen)
                while process.is_alive():
                    drained(pipe)
                done = process.exitcode == 0
            after = settled_files(course)
            assert_settled_stays(settled, after)
            settled = after
        assert_complete(course, STUDENTS[:3], points=7)


def slow_cell() -> str:
    """Says that it runs, by the name of its process, and takes its time."""
    return (
        "import time\n"
        f"open('/proc/self/comm', 'w').write({FOUND_BY!r})\n"
        "time.sleep(1)\n"
        "def twice(x):\n    return 2 * x"
    )


def in_the_cell(grader: int) -> int:
    found: list[int] = []

    def look() -> bool:
        for pid in descendants(grader):
            try:
                name = Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:
                continue
            if name == FOUND_BY:
                found.append(pid)
        return bool(found)

    assert wait_until(look), "no student's cell was seen running"
    return found[0]


def wait_until(holds: Callable[[], bool], seconds: float = 90) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.01)
    return False


def killed_now(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def drained(pipe: Any) -> None:
    """Take what was said, so that nobody waits for a full pipe."""
    try:
        if pipe.poll(0.05):
            pipe.recv()
    except EOFError:
        time.sleep(0.05)


def test_evidence_that_was_cut_off_counts_as_absent(course: Path) -> None:
    run_to_the_end(course, grade_instantly, 0, 0)
    path = course / "out/evidence/anna.jsonl"
    whole, draw = path.read_bytes(), random.Random(1)
    for size in {0, 1, len(whole) - 2, *(draw.randrange(len(whole) - 1) for _ in range(200))}:
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"."):
            evidence.read(path)
    path.write_bytes(whole[:-9] + bytes(8) + b"\n")  # what a file system leaves after a power cut
    before = settled_files(course)
    run_to_the_end(course, grade_instantly, 0, 0)
    assert_settled_stays({s: b for s, b in before.items() if s != "anna"}, settled_files(course))
    assert_complete(course, STUDENTS, points=7)


def test_a_second_grader_of_the_same_class_is_refused_by_name(course: Path) -> None:
    out = course / "out"
    with alone_in(out), pytest.raises(AlreadyGrading, match=rf"process id {os.getpid()} .*--out"):
        classrun.grade_class(course / "in", minilab.STUB, _never, out, lambda _: None)
    assert not (out / "evidence").exists()
    run_to_the_end(course, grade_instantly, 0, 0)  # whoever held it is gone: it is free again


def _never() -> Grader:
    raise AssertionError("a grader that was refused prepares nothing")


def test_a_class_keeps_the_graders_memory_flat(tmp_path: Path) -> None:
    """40 submissions of 1 MiB evidence each cost 12 MiB at most, which is what allocators keep."""
    course = new_course(tmp_path, tuple(f"student-{n:02}" for n in range(50)))
    said = run_to_the_end(course, grade_instantly, 0, MIB)
    resident = [size for what, size in said if " of 50, " in str(what)]
    assert len(resident) == 50
    assert resident[49] - resident[9] < 12 * MIB


HOSTILE = {
    "memory": "kept = []\nwhile True:\n    kept.append(bytearray(64 * 1024**2))",
    "forks": "import os\nwhile True:\n    os.fork()",
    "loop": "while True:\n    pass",
    "flood": "while True:\n    print('x' * 100_000)",
    "exit": "import os\nos._exit(0)",
}


@pytest.mark.slow
def test_a_class_of_fifty_with_five_hostile_ones_is_graded_in_flat_memory(tmp_path: Path) -> None:
    """Growth from the 10th to the 50th submission: 24 MiB at most, for logs that are passing."""
    honest = tuple(f"student-{n:02}" for n in range(45))
    course = new_course(tmp_path, honest)
    for name, attack in HOSTILE.items():
        minilab.hand_in_stub(course / "in", f"student-2x-{name}", {"twice": attack})
    said = run_to_the_end(course, grade_in_the_sandbox)
    resident = [size for what, size in said if " of 50, " in str(what)]
    assert resident[49] - resident[9] < 24 * MIB
    for student in honest:
        found = evidence.read(course / f"out/evidence/{student}.jsonl")
        assert all(exercise.passed for exercise in found.exercises)
    for name in HOSTILE:
        found = evidence.read(course / f"out/evidence/student-2x-{name}.jsonl")
        passed = {exercise.id: exercise.passed for exercise in found.exercises}
        assert len(passed) == 3, name
        assert not passed["test-twice"], name  # what a fork bomb leaves may cost its author more


def _ran(*lost_at: str) -> Ran:
    return Ran(Notebook("n", ()), (), (), (), None, frozenset(lost_at))


@pytest.mark.parametrize(
    ("attempts", "taken"),
    [
        ([_ran()], 1),
        ([_ran("a"), _ran()], 2),  # the machine took it
        ([_ran("a"), _ran("a"), _ran()], 2),  # the student's code ends it there
        ([_ran("a"), _ran("b"), _ran("b")], 3),
        ([_ran("a"), _ran("b"), _ran("c"), _ran()], 3),  # a bound is a bound
    ],
)
def test_a_lost_process_is_the_students_only_if_it_is_lost_there_again(
    attempts: list[Ran], taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = iter(attempts)
    monkeypatch.setattr(notebooks, "_once", lambda *_: next(waiting))
    monkeypatch.setattr(notebooks, "rebuild", lambda *_: Notebook("n", ()))
    kept = notebooks.work_through("n", [], _any_submission(), minilab.STUB, NoSandbox(), hash)
    assert kept is attempts[taken - 1]
    assert len(list(waiting)) == len(attempts) - taken


def _any_submission() -> Submission:
    return Submission("ada", minilab.STUB.folder, Path(), (), (), "0" * 64, "")


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_sandbox_that_does_not_start_is_tried_again_before_the_run_ends(
    failures: int, course: Path, stub_grader: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pauses, so three tries; then nobody can be graded, and what is graded stays."""
    left, grade_one = [failures], grade.grade

    def starts_late(submission: Submission, *rest: Any) -> Evidence:
        if submission.student == "ben" and left[0]:
            left[0] -= 1
            raise SandboxUnavailable("out of memory")
        return grade_one(submission, *rest)

    monkeypatch.setattr(classrun, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(classrun.grade, "grade", starts_late)
    monkeypatch.setattr(classrun.grade, "work_through", lambda *_: _ran())

    def once() -> classrun.ClassResult:
        out = course / "out"
        return classrun.grade_class(
            course / "in", minilab.STUB, lambda: stub_grader, out, lambda _: None
        )

    if failures == 3:
        with pytest.raises(SandboxUnavailable, match="out of memory"):
            once()
        assert set(settled_files(course)) == {"anna"}
    assert len(once().graded) == len(STUDENTS)


@pytest.fixture
def known(course: Path) -> Evidence:
    run_to_the_end(course, grade_instantly, 0, 0)
    return evidence.read(course / "out/evidence/anna.jsonl")


def test_evidence_stands_for_the_same_files_grader_tests_and_isolation(known: Evidence) -> None:
    handed_in, now, held_to = known.submission, known.machine, known.held_against
    assert stands(known, handed_in, now, held_to)
    assert not stands(known, replace(handed_in, receipt="1" * 64), now, held_to)
    assert not stands(known, handed_in, now, "1" * 64)
    assert not stands(replace(known, grader_version="0.0.9"), handed_in, now, held_to)
    isolated = replace(now, isolation=("bubblewrap",))
    assert not stands(known, handed_in, isolated, held_to)
    assert stands(replace(known, machine=isolated), handed_in, now, held_to)


def test_a_changed_hidden_test_makes_evidence_stale_and_a_corrected_word_does_not(
    stub_grader: Grader,
) -> None:
    lab, ((name, cells),) = minilab.STUB, stub_grader.sources.items()

    def with_changed(old: str, new: str) -> str:
        changed = [replace(cell, source=cell.source.replace(old, new)) for cell in cells]
        assert changed != cells
        return held_against(lab, {name: changed})

    now = held_against(lab, {name: cells})
    assert now == stub_grader.held_against
    assert with_changed("-1.5", "-2.5") != now
    assert with_changed("Three small", "Three tiny") == now
    assert held_against(replace(lab, limits=replace(lab.limits, cell_s=9)), {name: cells}) != now


def test_a_changed_threshold_needs_no_new_evidence_and_a_new_metric_does() -> None:
    size, *others = minilab.LAB.thresholds
    now = held_against(minilab.LAB, {})
    stricter = replace(minilab.LAB, thresholds=(replace(size, full=3.9), *others))
    assert held_against(stricter, {}) == now
    assert held_against(replace(minilab.LAB, thresholds=tuple(others[:0])), {}) != now


def test_an_open_check_is_repeated_where_it_can_be_settled_or_when_asked(known: Evidence) -> None:
    needy = replace(minilab.LAB.thresholds[2], needs=(), requires=Requirement(isa=("avx512_vnni",)))
    lab = replace(minilab.LAB, thresholds=(needy,))
    failed = Measurement("speedup", None, note="no such CPU", grader_fault=True)
    one = replace(known, measurements=(failed,))
    without, having = (replace(known.machine, isa=isa) for isa in ((), ("avx512_vnni",)))
    assert not may_settle(one, lab, without, again=False)
    assert may_settle(one, lab, having, again=False)
    assert may_settle(one, lab, without, again=True)
    assert not may_settle(known, minilab.STUB, having, again=True)  # nothing is open


class Stopwatch(Ruler):
    """A ruler whose candidate never finishes in time, and whose baseline may."""

    def count(self, model: Path) -> Any:
        raise DoesNotRun("not asked here")

    def time(self, baseline: Path, candidate: Path, number: int = 0) -> Any:
        if candidate != baseline or self.machine.cpu == "busy":
            raise TooSlow(self.lab.limits.measuring_s)
        return None


@pytest.mark.parametrize(("cpu", "ours"), [("idle", False), ("busy", True)])
def test_a_slow_model_is_its_authors_fault_and_a_slow_machine_ours(
    cpu: str, ours: bool, known: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 100_000, 100))  # 100 s between any two looks at it
    lab = replace(minilab.LAB, thresholds=(replace(minilab.LAB.thresholds[2], needs=()),))
    lab = replace(lab, thresholds=(replace(lab.thresholds[0], requires=Requirement()),))
    ruler = Stopwatch(lab, NoSandbox(), replace(known.machine, cpu=cpu))
    model, quiet = Artefact(Path("theirs"), 1, (), 1, ()), NoiseCertificate(Interval(1, 1, 1), 0, 1)
    baseline = Baseline(replace(model, path=Path("ours")), 1, None, None, None, quiet)  # type: ignore[arg-type]
    monkeypatch.setattr(measure, "SLOW", 0.5)  # of 100 s that the control takes on this clock
    monkeypatch.setattr(measure.time, "monotonic", lambda: float(next(clock)))
    (found,) = measure.measure(model, baseline, ruler)
    assert found.value is None
    assert found.grader_fault is ours
    assert "100 s were not enough" in found.note


def test_a_model_whose_time_is_over_is_stopped(grader: Grader, tmp_path: Path) -> None:
    baseline = grader.baseline()
    assert baseline is not None
    examples = grader.ruler.examples
    many = examples.rows(torch.arange(10_000).remainder(len(examples)))
    for seconds in (0, 1.5):  # a process is not started at all, or imports for longer than that
        late = replace(grader.ruler, deadline=time.monotonic() + seconds)
        with pytest.raises(TooSlow):
            late.predict(baseline.artefact.path, many)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(DoesNotRun):
        grader.ruler.time(baseline.artefact.path, tmp_path / "broken.onnx")
