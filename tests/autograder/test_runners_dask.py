"""Several Dask workers that advertise different machines, and what becomes of jobs on them."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import minilab
import pytest
from distributed import Nanny, Scheduler, SpecCluster

from autograder import evidence, sandbox
from autograder.classrun import grade_class
from autograder.grade import prepare
from autograder.lab import Requirement
from autograder.machine import describe
from autograder.runners.capabilities import Capabilities, Needs
from autograder.runners.cluster import DaskRunner, workers_here, workers_of
from autograder.runners.parallel import grade_class_on
from autograder.runners.parcel import Parcel
from autograder.runners.runner import Answer, Fault, Job, NoRunner, route, submit

HELPERS = Path(__file__).parent
PLAIN = {"cpu": 1.0, "memory": 2e9, "x86_64": 1.0, "avx2": 1.0}
WORKERS = {
    "plain-1": PLAIN,
    "plain-2": PLAIN,
    "vnni": PLAIN | {"avx512_vnni": 1.0, "timing": 1.0},
    "gpu": PLAIN | {"avx512_vnni": 1.0, "gpu:NVIDIA_A100": 1.0, "compute_capability": 8.0},
    "arm": {"cpu": 1.0, "memory": 2e9, "aarch64": 1.0},
}


@pytest.fixture(scope="module")
def runners() -> Iterator[list[DaskRunner]]:
    """What the workers advertise is made up; what they run is real."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HELPERS))
        with (
            dask.config.set({"distributed.scheduler.allowed-failures": 1}),
            SpecCluster(
                scheduler={"cls": Scheduler, "options": {"dashboard": False, "port": 0}},
                workers={
                    name: {
                        "cls": Nanny,
                        "options": {
                            "nthreads": 1,
                            "resources": resources,
                            "env": {"MINIJOB_WORKER": name},
                        },
                    }
                    for name, resources in WORKERS.items()
                },
            ) as cluster,
            workers_of(cluster.scheduler_address, "minijob") as found,
        ):
            yield found


def _job(do: str, place: Path, needs: Needs | None = None) -> Job:
    asked = json.dumps({"do": do, "place": str(place)})
    return Job(Parcel(asked, {"model": b"\x80\x04"}), needs or Needs())


def _worker(answer: Answer | Fault) -> str:
    assert isinstance(answer, Parcel), answer
    return str(json.loads(answer.text)["worker"])


def test_workers_that_advertise_the_same_are_one_runner(runners: list[DaskRunner]) -> None:
    assert sorted(runner.slots for runner in runners) == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("needs", "workers"),
    [
        (Needs(Requirement(arch="x86_64")), {"plain-1", "plain-2"}),
        (Needs(Requirement(isa=("avx512_vnni",)), timing=True), {"vnni"}),
        (Needs(Requirement(accelerator="A100", compute_capability=8.0)), {"gpu"}),
        (Needs(Requirement(arch="aarch64")), {"arm"}),
    ],
    ids=lambda value: "",
)
def test_a_job_runs_on_the_cheapest_worker_that_has_what_it_needs(
    needs: Needs, workers: set[str], runners: list[DaskRunner], tmp_path: Path
) -> None:
    answer = submit(runners, _job("echo", tmp_path, needs)).result(timeout=60)
    assert _worker(answer) in workers
    assert isinstance(answer, Parcel)
    assert answer.files == {"model": b"\x80\x04"}


def test_what_no_worker_has_is_answered_at_once(runners: list[DaskRunner], tmp_path: Path) -> None:
    needs = Needs(Requirement(accelerator="A100", compute_capability=9.0))
    future = submit(runners, _job("echo", tmp_path, needs))
    assert future.done()
    answer = future.result()
    assert isinstance(answer, Fault)
    assert "compute capability 9.0" in answer.reason


def test_a_job_whose_worker_is_killed_runs_again_elsewhere(
    runners: list[DaskRunner], tmp_path: Path
) -> None:
    future = submit(runners, _job("hold", tmp_path, Needs(Requirement(arch="x86_64"))))
    (first,) = _begun(tmp_path, 1)
    os.kill(int(first.read_text()), signal.SIGKILL)
    again = _begun(tmp_path, 2)
    assert len({path.read_text() for path in again}) == 2  # of another worker's process
    (tmp_path / "go").touch()
    assert _worker(future.result(timeout=60)).startswith("plain")


def test_a_job_that_kills_its_workers_is_a_fault_in_the_end(
    runners: list[DaskRunner], tmp_path: Path
) -> None:
    future = submit(runners, _job("poison", tmp_path, Needs(Requirement(arch="x86_64"))))
    answer = future.result(timeout=120)
    assert isinstance(answer, Fault)
    assert "lost" in answer.reason
    assert len(_begun(tmp_path, 2)) >= 2


def test_a_scheduler_that_is_not_there_is_named() -> None:
    with (
        pytest.raises(NoRunner, match="no Dask scheduler answers"),
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        workers_of("tcp://127.0.0.1:1"),
    ):
        pass


def test_a_class_on_workers_has_the_evidence_of_a_class_one_by_one(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HELPERS))
    monkeypatch.setenv("MINIJOB_SOURCE", str(source))
    handed_in, out, serial = tmp_path / "in", tmp_path / "out", tmp_path / "serial"
    for student in ("anna", "ben", "carl"):
        broken = {"total": "def total(numbers):\n    return 0"} if student == "ben" else {}
        minilab.hand_in_stub(handed_in, student, broken)
    found_here = sandbox.find(allow_unsafe=False)
    tell: Callable[[str], None] = lambda _: None  # noqa: E731
    whole = Capabilities.of(describe(found_here), ())
    with workers_here(2, whole, "minijob") as runners:
        assert not isinstance(route(runners, Needs()), Fault)
        parallel = grade_class_on(runners, handed_in, minilab.STUB, source, out, tell)
        before = (out / "evidence/anna.jsonl").stat().st_mtime_ns
        again = grade_class_on(runners, handed_in, minilab.STUB, source, out, tell)
    one_by_one = grade_class(
        handed_in,
        minilab.STUB,
        lambda: prepare(minilab.STUB, source, found_here, serial, tell),
        serial,
        tell,
    )
    assert parallel.refused == one_by_one.refused == ()
    points = {one.student: one.verdict.points for one in one_by_one.graded}
    assert {one.student: one.verdict.points for one in parallel.graded} == points
    assert points["ben"] < points["anna"]
    assert (out / "evidence/anna.jsonl").stat().st_mtime_ns == before  # nobody is graded twice
    assert [one.student for one in again.graded] == ["anna", "ben", "carl"]
    for student in points:
        here, there = (evidence.read(f / f"evidence/{student}.jsonl") for f in (serial, out))
        assert there.exercises == here.exercises
        assert there.submission.receipt == here.submission.receipt
        assert (out / f"{student}.html").is_file()


def _begun(place: Path, count: int) -> list[Path]:
    end = time.monotonic() + 60  # the limit of a test that fails, not a claim
    while len(found := sorted(place.glob("begun-*"), key=os.path.getmtime)) < count:
        assert time.monotonic() < end, f"{len(found)} of {count} begun"
        time.sleep(0.05)
    return found
