"""Dask workers that say they have what this machine may not have, and that are killed."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dask as engine
import minilab
import pytest
from distributed import Client, SpecCluster
from distributed.nanny import Nanny
from distributed.scheduler import Scheduler

from autograder import evidence, sandbox
from autograder.classrun import grade_class
from autograder.grade import prepare
from autograder.lab import Requirement
from autograder.machine import describe
from autograder.records import Artefact, Evidence, Machine
from autograder.runners import cluster as dask
from autograder.runners.capabilities import Capabilities, Needs
from autograder.runners.cluster import DaskRunner
from autograder.runners.parallel import grade_class_on
from autograder.runners.parcel import Fault, Parcel
from autograder.runners.runner import Job, NoRunner, route, submit
from autograder.samples import Sample, write

HELPERS = Path(__file__).parent
WORKERS = {
    "cpu": {"cpu": 1},
    "vnni": {"cpu": 1, "x86_64": 1, "avx2": 1, "avx512_vnni": 1, "timing": 1},
    "gpu": {"cpu": 1, "x86_64": 1, "avx2": 1, "gpu": 1, "compute_capability": 8.0, "timing": 1},
    "arm": {"cpu": 1, "aarch64": 1, "asimddp": 1, "timing": 1},
}


def _cluster(workers: dict[str, dict[str, float]], threads: int = 1) -> SpecCluster:
    spec = {
        name: {
            "cls": Nanny,
            "options": {
                "nthreads": threads,
                "resources": {key: float(number) for key, number in resources.items()},
                "env": {"MINIJOB_WORKER": name, "PYTHONPATH": str(HELPERS)},
                "memory_limit": 0,
            },
        }
        for name, resources in workers.items()
    }
    scheduler = {"cls": Scheduler, "options": {"dashboard": False, "port": 0, "host": "127.0.0.1"}}
    return SpecCluster(workers=spec, scheduler=scheduler, silence_logs=False)


@pytest.fixture(scope="module")
def runners() -> Iterator[list[DaskRunner]]:
    with (
        _cluster(WORKERS) as cluster,
        dask.workers_of(cluster.scheduler_address, "minijob") as found,
    ):
        yield found


@pytest.fixture
def twins() -> Iterator[tuple[DaskRunner, SpecCluster]]:
    """Two workers of one kind."""
    with (
        _cluster({"one": {"cpu": 1}, "two": {"cpu": 1}}) as cluster,
        dask.workers_of(cluster.scheduler_address, "minijob") as (runner,),
    ):
        yield runner, cluster


def _job(do: str, place: Path | None = None, needs: Needs | None = None) -> Job:
    asked = json.dumps({"do": do, "place": str(place)})
    return Job(Parcel(asked, {"file": b"\x00\xff"}), needs or Needs())


def _worker(answer: Parcel | Fault) -> str:
    assert isinstance(answer, Parcel), answer
    assert answer.files == {"file": b"\x00\xff"}
    return str(json.loads(answer.text)["worker"])


def _begun(place: Path, count: int) -> dict[int, int]:
    """The workers that have begun the job, by the process of the job."""
    _until(lambda: len(list(place.glob("begun-*"))) >= count)
    return {int(p.name.removeprefix("begun-")): int(p.read_text()) for p in place.glob("begun-*")}


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60  # the limit of a test that fails, not a claim
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("needs", "worker"),
    [
        (Needs(), "cpu"),
        (Needs(Requirement(isa=("avx512_vnni",)), timing=True), "vnni"),
        (Needs(Requirement(compute_capability=7.5)), "gpu"),
        (Needs(Requirement(arch="aarch64")), "arm"),
    ],
)
def test_a_job_runs_on_the_cheapest_worker_that_advertises_what_it_needs(
    needs: Needs, worker: str, runners: list[DaskRunner]
) -> None:
    assert _worker(submit(runners, _job("echo", needs=needs)).result()) == worker


def test_what_no_worker_advertises_is_answered_at_once(runners: list[DaskRunner]) -> None:
    future = submit(runners, _job("echo", needs=Needs(Requirement(isa=("amx_int8",)))))
    assert future.done()
    answer = future.result()
    assert isinstance(answer, Fault)
    assert answer.reason.count("amx_int8") == len(WORKERS)
    assert "Dask workers with cpu: it needs a CPU with amx_int8" in answer.reason


def test_text_and_bytes_alone_are_given_to_dask(
    runners: list[DaskRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[object, ...]] = []
    send = Client.submit

    def spy(self: Client, function: object, *sent: object, **options: object) -> object:
        given.append((function, *sent))
        return send(self, function, *sent, **options)

    monkeypatch.setattr(Client, "submit", spy)
    _worker(submit(runners, _job("echo")).result())
    ((function, *sent),) = given
    assert function is dask.perform
    assert [type(each) for each in sent] == [str, bytes]


def test_the_job_of_a_worker_that_is_killed_runs_again_on_another(
    twins: tuple[DaskRunner, SpecCluster], tmp_path: Path
) -> None:
    runner, _ = twins
    future = runner.submit(_job("hold", tmp_path))
    ((process, worker),) = _begun(tmp_path, 1).items()
    os.kill(worker, signal.SIGKILL)
    assert len(_begun(tmp_path, 2)) == 2
    (tmp_path / "go").touch()
    _worker(future.result())
    workers = _begun(tmp_path, 2)
    assert len(set(workers.values())) == 2
    _until(lambda: not Path(f"/proc/{process}").exists())  # nor does the first one go on


def test_the_job_of_the_only_worker_of_its_kind_waits_for_it_to_come_back(
    tmp_path: Path,
) -> None:
    with (
        _cluster({"one": {"cpu": 1}, "other": {"cpu": 1, "gpu": 1}}) as cluster,
        dask.workers_of(cluster.scheduler_address, "minijob") as found,
    ):
        future = submit(found, _job("hold", tmp_path, Needs(Requirement(compute_capability=0.0))))
        (worker,) = _begun(tmp_path, 1).values()
        os.kill(worker, signal.SIGKILL)
        _begun(tmp_path, 2)
        (tmp_path / "go").touch()
        assert _worker(future.result()) == "one"


def test_a_job_that_takes_every_worker_along_is_given_up(
    twins: tuple[DaskRunner, SpecCluster], tmp_path: Path
) -> None:
    runner, _ = twins
    answer = runner.submit(_job("poison", tmp_path)).result()
    assert isinstance(answer, Fault)
    assert "lost" in answer.reason
    allowed = int(engine.config.get("distributed.scheduler.allowed-failures"))
    assert 1 < len(_begun(tmp_path, 2)) <= dask.ATTEMPTS * (allowed + 1)


def test_a_kind_that_is_gone_for_good_is_a_fault_and_not_a_job_that_waits(
    twins: tuple[DaskRunner, SpecCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, cluster = twins
    cluster.scale(0)
    _until(lambda: not runner._workers(0.0))
    monkeypatch.setattr(dask, "RETURN_S", 0.0)
    answer = runner.submit(_job("echo")).result()
    assert isinstance(answer, Fault)
    assert "its last worker is gone" in answer.reason


def test_jobs_that_time_run_one_after_another_where_one_timing_is_advertised(
    tmp_path: Path,
) -> None:
    """The third job begins after the second could have, and the second has not."""
    with (
        _cluster({"one": {"cpu": 3, "timing": 1}}, threads=3) as cluster,
        dask.workers_of(cluster.scheduler_address, "minijob") as (runner,),
    ):
        assert runner.slots == 3
        timed = [runner.submit(_job("hold", tmp_path, Needs(timing=True)))]
        _begun(tmp_path, 1)
        timed.append(runner.submit(_job("hold", tmp_path, Needs(timing=True))))
        _worker(runner.submit(_job("echo")).result())
        assert len(_begun(tmp_path, 1)) == 1
        (tmp_path / "go").touch()
        assert [_worker(each.result()) for each in timed] == ["one", "one"]


def test_the_cluster_of_this_machine_answers_nobody_without_its_certificate(
    here: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HELPERS))
    with dask.workers_here(2, Capabilities.of(here, ()), "minijob") as (runner,):
        _worker(runner.submit(_job("echo", needs=Needs(timing=True))).result())
        address = runner.client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        for other in (address, address.replace("tls", "tcp")):
            monkeypatch.setattr(dask, "CONNECT_S", 1.0)
            told = pytest.raises(NoRunner, match="no Dask scheduler answers")
            with told, dask.workers_of(other):
                pass


def test_a_scheduler_that_is_not_there_or_has_no_workers_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dask, "CONNECT_S", 0.3)
    absent = pytest.raises(NoRunner, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9")
    with absent, dask.workers_of("tcp://127.0.0.1:9"):
        pass
    idle = pytest.raises(NoRunner, match="has no workers")
    with _cluster({}) as cluster, idle, dask.workers_of(cluster.scheduler_address):
        pass


def test_workers_that_advertise_the_same_are_one_runner(
    twins: tuple[DaskRunner, SpecCluster], runners: list[DaskRunner]
) -> None:
    assert twins[0].slots == 2
    assert [runner.slots for runner in runners] == [1] * len(WORKERS)


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
    with dask.workers_here(2, whole, "minijob") as runners:
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


def test_a_model_graded_on_workers_has_the_bytes_and_answers_that_it_has_here(
    graded: Callable[[dict[str, str]], Evidence],
    source: Path,
    released: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sizes and predictions are exact; what is timed or drawn anew is not compared."""
    here = graded({})
    monkeypatch.setenv("PYTHONPATH", str(HELPERS))
    monkeypatch.setenv("MINIJOB_SOURCE", str(source))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # of the workers: their folder for jobs
    folder, lab, handed_in = source / minilab.LAB.folder, minilab.LAB, tmp_path / "class"
    for student in ("anna", "ben"):
        (tmp_path / student).mkdir()
        sample = write(
            Sample("student", "", False, {}), folder, released / lab.folder, tmp_path / student
        )
        shutil.copytree(sample, handed_in / student)
    whole = Capabilities.of(here.machine, ())
    with dask.workers_here(2, whole, "minijob") as runners:
        result = grade_class_on(
            runners, handed_in, lab, source, tmp_path / "grades", lambda _: None
        )
    assert result.refused == ()
    for student in ("anna", "ben"):
        there = evidence.read(tmp_path / f"grades/evidence/{student}.jsonl")
        assert there.exercises == here.exercises
        assert [m.metric for m in there.measurements] == [m.metric for m in here.measurements]
        exact = [each.value for each in there.measurements if each.metric != "speedup"]
        assert exact == [each.value for each in here.measurements if each.metric != "speedup"]
        assert isinstance(there.artefact, Artefact)
        assert isinstance(here.artefact, Artefact)
        assert there.artefact.ledger == here.artefact.ledger
        assert there.artefact.path == tmp_path / "grades/artefacts" / student / "model.onnx"
        assert there.artefact.path.stat().st_size == there.artefact.size_bytes
        assert there.submission.root == tmp_path / "grades/sealed" / student
    (kept,) = tmp_path.glob("compression-course-*/run-*/baseline.json")  # by the first job alone
    assert kept.stat().st_size


@pytest.fixture
def here() -> Machine:
    return Machine("a CPU", "x86_64", ("avx2",), 2, 2**34, {}, (), ())
