"""What crosses to a runner, which runner gets a job, and what a job's process may do to it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_type_hints

import minilab
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder import accelerators, doctor, grade
from autograder.accelerators import Accelerator
from autograder.grade import Grader
from autograder.intake import seal
from autograder.lab import MIB, Requirement
from autograder.records import Submission
from autograder.runners import grading, process
from autograder.runners.capabilities import Capabilities, Needs, needs_of
from autograder.runners.local import this_machine
from autograder.runners.parallel import Elsewhere
from autograder.runners.parcel import Parcel, TornParcel
from autograder.runners.process import perform
from autograder.runners.resources import advertised, advertisement, taken
from autograder.runners.runner import Answer, Fault, Job, Pending, outcome, route, submit
from autograder.sandbox import SandboxUnavailable

HELPERS = Path(__file__).parent
H100 = Accelerator("NVIDIA H100 80GB HBM3", 9.0, 81_559 * MIB)
PLAIN = Capabilities("plain", "x86_64", ("avx2",), 2, 4096 * MIB, (), True)
VNNI = replace(PLAIN, cpu="vnni", isa=("avx2", "avx512_vnni"))
GPU = replace(VNNI, cpu="gpu", accelerators=(H100,))
ARM = replace(PLAIN, cpu="arm", arch="aarch64", isa=("asimddp",))
NAMES = st.lists(
    st.text("abc._-é ", min_size=1, max_size=8).filter(lambda part: part.strip(". ")), min_size=1
).map("/".join)
PARCELS = st.builds(
    Parcel,
    st.dictionaries(st.text(), st.text() | st.integers()).map(json.dumps),
    st.dictionaries(NAMES, st.binary(max_size=200), max_size=4),
)


@pytest.fixture(autouse=True)
def _jobs_find_their_program(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HELPERS))
    monkeypatch.setenv("MINIJOB_SOURCE", str(source))


@dataclass(frozen=True)
class Desk:
    """A runner that answers when it is told to."""

    name: str
    capabilities: Capabilities
    slots: int = 1
    pending: Pending = field(default_factory=Pending)

    def submit(self, job: Job) -> "Future[Answer | Fault]":
        return self.pending.add(Future())


def _asked(do: str, place: Path | None = None, **files: bytes) -> Parcel:
    return Parcel(json.dumps({"do": do, "place": str(place)}), files)


@given(PARCELS)
def test_a_parcel_is_the_same_on_the_other_side(parcel: Parcel) -> None:
    assert Parcel.unpack(parcel.pack()) == parcel


def test_a_parcel_is_the_same_in_a_folder(tmp_path: Path) -> None:
    parcel = Parcel('{"ä": 1}', {"a/b.bin": bytes(range(256)), "c": b""})
    parcel.write(tmp_path / "parcel")
    assert Parcel.read(tmp_path / "parcel") == parcel


@given(PARCELS, st.data())
def test_a_parcel_that_was_cut_is_refused(parcel: Parcel, data: st.DataObject) -> None:
    packed = parcel.pack()
    with pytest.raises(TornParcel):
        Parcel.unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../b", "", "a\0b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str) -> None:
    with pytest.raises(TornParcel, match="names no file"):
        Parcel("{}", {name: b""})


def test_the_cheapest_runner_that_fits_gets_the_job() -> None:
    desks = [Desk(one.cpu, one) for one in (GPU, VNNI, PLAIN, ARM)]

    def chosen(needs: Needs) -> str:
        found = route(desks, needs)
        assert not isinstance(found, Fault)
        return found.name

    assert chosen(Needs(timing=True)) == "plain"
    assert chosen(Needs(Requirement(isa=("avx512_vnni",)))) == "vnni"
    assert chosen(Needs(Requirement(arch="aarch64"))) == "arm"
    assert chosen(Needs(Requirement(accelerator="h100", compute_capability=8.9))) == "gpu"


def test_a_dearer_runner_helps_out_while_the_cheap_one_is_busy() -> None:
    cheap, dear = Desk("plain", PLAIN, slots=2), Desk("gpu", GPU)
    job = Job(Parcel("{}", {}))
    first, second, third, fourth = (submit([cheap, dear], job) for _ in range(4))
    assert (len(cheap.pending), len(dear.pending)) == (3, 1)
    second.set_result(Fault(""))
    first.set_result(Fault(""))
    assert route([cheap, dear], Needs()) is cheap
    assert not third.done()
    assert not fourth.done()


@pytest.mark.parametrize(
    ("required", "told"),
    [
        (Requirement(isa=("amx_int8",)), "plain: it needs a CPU with amx_int8"),
        (Requirement(arch="riscv64"), "architecture riscv64, this machine is x86_64"),
        (Requirement(cores=64), "64 cores, this machine has 2"),
        (Requirement(memory_bytes=2**40), "1048576 MiB of memory"),
        (Requirement(compute_capability=10.0), "(compute capability 10.0), and NVIDIA H100"),
        (Requirement(accelerator="MI300"), "(a name with MI300), and none is offered"),
        (Requirement(accelerator="H100", accelerator_memory_bytes=2**37), "131072 MiB"),
    ],
)
def test_what_nobody_can_do_is_answered_at_once_and_says_of_each_why(
    required: Requirement, told: str
) -> None:
    desks = [Desk("plain", PLAIN), Desk("gpu", replace(GPU, isa=()))]
    future = submit(desks, Job(Parcel("{}", {}), Needs(required)))
    assert future.done()
    answer = future.result()
    assert isinstance(answer, Fault)
    assert told in answer.reason
    assert not any(len(desk.pending) for desk in desks)


def test_where_no_timing_is_done_nothing_is_timed() -> None:
    found = route([Desk("busy", replace(GPU, exclusive_timing=False))], Needs(timing=True))
    assert isinstance(found, Fault)
    assert "no timing is done there" in found.reason
    assert isinstance(route([], Needs()), Fault)


def test_a_lab_needs_what_its_checks_need_and_a_timing_where_it_grades_speed() -> None:
    full, least = needs_of(minilab.LAB)
    assert full == Needs(Requirement(isa=("avx512_vnni",)), timing=True)
    assert least == Needs(Requirement(), timing=True)
    assert needs_of(minilab.STUB) == (Needs(), Needs())


@given(
    st.builds(
        Capabilities,
        cpu=st.just(""),
        arch=st.sampled_from(("x86_64", "aarch64")),
        isa=st.sampled_from((("avx2",), ("avx2", "avx512_vnni"), ("asimddp", "i8mm"))),
        cores=st.integers(1, 512),
        memory_bytes=st.integers(0, 2**45),
        accelerators=st.integers(0, 8).map(lambda count: (H100,) * count),
        exclusive_timing=st.booleans(),
    )
)
def test_a_worker_that_advertises_capabilities_has_them(has: Capabilities) -> None:
    assert replace(advertised(advertisement(has)), cpu="") == has


def test_a_job_takes_of_a_worker_what_can_be_used_up() -> None:
    needs = Needs(Requirement(isa=("avx2",), cores=2, accelerator="H100"), timing=True)
    said = taken(needs, advertisement(GPU))
    assert said == {"cpu": 2, "timing": 1, "gpu:NVIDIA_H100_80GB_HBM3": 1}
    assert taken(Needs(Requirement(compute_capability=1)), {"gpu": 2}) == {"cpu": 1, "gpu": 1}


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo 'NVIDIA H100 80GB HBM3, 9.0, 81559 MiB'", (H100,)),
        ("echo 'Tesla K80, [N/A], 11441 MiB'; echo 'odd'", (("Tesla K80", 0.0, 11_441 * MIB),)),
        ("echo 'No devices were found'; exit 6", ()),
        ("exec sleep 60", ()),
    ],
)
def test_accelerators_are_what_the_driver_lists(
    script: str, found: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(accelerators, "DRIVER_S", 1.0)
    expected = tuple(one if isinstance(one, Accelerator) else Accelerator(*one) for one in found)
    assert accelerators.present() == expected


def test_text_and_bytes_alone_cross() -> None:
    assert get_type_hints(perform) == {"program": str, "packed": bytes, "return": bytes}
    answer = outcome(perform("minijob", _asked("echo", model=b"\x80\x04\x00").pack()))
    assert isinstance(answer, Parcel)
    assert answer.files == {"model": b"\x80\x04\x00"}


@pytest.mark.parametrize(
    ("do", "told"),
    [("die", "ended by signal 9"), ("fail", "exit code 1: the disk is full")],
)
def test_a_job_that_dies_is_a_fault_that_says_how(do: str, told: str) -> None:
    answer = outcome(perform("minijob", _asked(do).pack()))
    assert isinstance(answer, Fault)
    assert told in answer.reason


def test_a_local_runner_answers_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.tempfile, "tempdir", str(tmp_path))  # nobody else's jobs
    with this_machine(2, VNNI, "minijob") as (runner,):
        assert (runner.slots, runner.capabilities.cores) == (2, 1)
        good, bad = (runner.submit(Job(_asked(do, tmp_path))) for do in ("echo", "die"))
        assert isinstance(good.result(), Parcel)
        assert isinstance(bad.result(), Fault)
        assert len(runner.pending) == 0
    assert not list(process.scratch().glob("job-*/request/files/*"))


def test_a_job_ends_with_its_runner(tmp_path: Path) -> None:
    code = "import sys; from autograder.runners.process import perform; "
    code += "perform('minijob', sys.stdin.buffer.read())"
    runner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    assert runner.stdin is not None
    runner.stdin.write(_asked("hold", tmp_path).pack())
    runner.stdin.close()
    (pid,) = _begun(tmp_path, 1)
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    _until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid))


def test_the_folder_of_jobs_belongs_to_this_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.tempfile, "tempdir", str(tmp_path))
    folder = process.scratch()
    old, new = folder / "job-old", folder / "job-new"
    for each in (old, new):
        each.mkdir()
    os.utime(old, (0, 0))
    assert set(process.scratch().iterdir()) == {new}
    folder.chmod(0o755)
    with pytest.raises(PermissionError, match="this user's alone"):
        process.scratch()


@pytest.fixture
def asked(stub_grader: Grader, tmp_path: Path) -> Job:
    minilab.hand_in_stub(tmp_path / "in", "anna")
    sealed = seal(tmp_path / "in/anna", minilab.STUB, tmp_path / "sealed")
    assert isinstance(sealed, Submission)
    run = grading.Run("ab12", b"0" * 32, False)
    return grading.job(sealed, minilab.STUB, stub_grader.held_against, run, Needs())


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("held_against", "0" * 64, "update the course"),
        ("grader_version", "0.0.1", "asked was for 0.0.1"),
        ("lab", "9.9", "KeyError"),
        ("kind", "dance", "'dance'; this version knows 'grade'"),
        ("run", "../..", "invalid literal"),
    ],
)
def test_a_runner_with_another_course_does_not_grade(
    key: str, value: str, told: str, asked: Job
) -> None:
    request = json.loads(asked.asks.text) | {key: value}
    parcel = Parcel(json.dumps(request), asked.asks.files)
    answer = outcome(perform("minijob", parcel.pack()))
    assert isinstance(answer, Fault)
    assert told in answer.reason


@pytest.mark.parametrize("change", ["altered", "left out"])
def test_files_that_are_not_those_of_the_seal_are_not_graded(change: str, asked: Job) -> None:
    files = {name: content + b" " for name, content in asked.asks.files.items()}
    parcel = Parcel(asked.asks.text, files if change == "altered" else {})
    answer = outcome(perform("minijob", parcel.pack()))
    assert isinstance(answer, Fault)
    assert "WrongVersion: anna" in answer.reason


def test_an_answer_about_something_else_is_no_evidence(asked: Job, tmp_path: Path) -> None:
    answer = outcome(perform("minijob", asked.asks.pack()))
    assert isinstance(answer, Parcel)
    sealed = seal(tmp_path / "in/anna", minilab.STUB, tmp_path / "sealed")
    assert isinstance(sealed, Submission)
    held_to = json.loads(asked.asks.text)["held_against"]
    found = grading.answered(answer, sealed, held_to, tmp_path / "out")
    assert found.submission == sealed
    assert grade.evidence_path("anna", tmp_path / "out").is_file()
    for other, held in ((replace(sealed, receipt="0" * 64), held_to), (sealed, "0" * 64)):
        with pytest.raises(grading.WrongVersion, match="about other files or tests"):
            grading.answered(answer, other, held, tmp_path / "out")


def test_the_doctor_says_what_can_be_graded_here_and_why_the_rest_cannot() -> None:
    impossible = replace(minilab.LAB.thresholds[2], requires=Requirement(arch="riscv64"))
    lab = replace(minilab.LAB, thresholds=(*minilab.LAB.thresholds[:2], impossible))
    found = doctor.examine([lab])
    reasons = {check.check: check.reason for check in found.checks}
    assert "architecture riscv64" in reasons["speedup"]
    assert not any(reason for check, reason in reasons.items() if check != "speedup")
    said = found.worker.split('"')[1].split()
    resources = {name: float(number) for name, number in (pair.split("=") for pair in said)}
    assert advertised(resources).exclusive_timing
    assert advertised(resources).cores == 1
    assert {line.name for line in found.machine} >= {"cpu", "isa", "cores", "memory", "missing"}


def test_the_doctor_says_that_nothing_can_be_graded_without_a_sandbox(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(allow_unsafe: bool) -> Elsewhere:
        raise SandboxUnavailable("bubblewrap (bwrap) is not installed")

    monkeypatch.setattr(doctor, "find", none)
    found = doctor.examine([minilab.LAB])
    assert all("not installed" in check.reason for check in found.checks)
    assert ("missing", "bubblewrap (bwrap) is not installed") in {
        (line.name, line.value) for line in found.machine
    }


def _begun(place: Path, count: int) -> list[int]:
    _until(lambda: len(list(place.glob("begun-*"))) >= count)
    return [int(path.name.removeprefix("begun-")) for path in place.glob("begun-*")]


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60  # the limit of a test that fails, not a claim
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
