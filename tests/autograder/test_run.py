"""Room 3 against notebooks that break, hang and pry."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import minilab
import pytest
import torch

from autograder import hidden
from autograder.records import Cell, Notebook
from autograder.run import ProcessGone, RaisedByStudent, Run, run
from autograder.sandbox import NoSandbox, Sandbox, SandboxUnavailable, world

LAB = replace(minilab.LAB, limits=replace(minilab.LAB.limits, wall_clock_s=30, cell_s=4, call_s=3))


@contextmanager
def running(isolated: Sandbox, *sources: str) -> Iterator[Run]:
    cells = tuple(Cell(f"cell-{i}", text, of_student=True) for i, text in enumerate(sources))
    with run(Notebook("test", cells), LAB, isolated) as alive:
        yield alive


def _output(isolated: Sandbox, source: str) -> str:
    with running(isolated, source) as alive:
        return alive.cells[0].output + alive.cells[0].error


def test_a_sandbox_that_does_not_start_is_our_fault_and_no_finding(
    isolated: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "absent"))
    with (
        pytest.raises(SandboxUnavailable, match="before any student code ran"),
        running(isolated, "x = 1"),
    ):
        pass


def test_cells_share_names_and_report_their_output(isolated: Sandbox) -> None:
    with running(isolated, "x = 20", "print(x + 1)") as alive:
        assert alive.cells[1].output == "21\n"
        assert not any(cell.error for cell in alive.cells)


def test_an_error_shows_the_students_line_and_no_path_of_ours(isolated: Sandbox) -> None:
    error = _output(isolated, "def f():\n    return 1 / 0\nf()")
    assert "return 1 / 0" in error
    assert error.endswith("ZeroDivisionError: division by zero")
    assert "/" not in error.replace("1 / 0", "")


@pytest.mark.parametrize("killer", ["import os; os._exit(0)", "import os; os.kill(os.getpid(), 9)"])
def test_a_cell_that_ends_the_process_is_left_out_and_the_rest_runs(
    isolated: Sandbox, killer: str
) -> None:
    with running(isolated, "x = 1", killer, "def f():\n    return x + 1") as alive:
        assert alive.process.call("f", (), {}) == 2
        assert "cell-1" in alive.findings[0].subject
        assert "ended the notebook's process" in alive.findings[0].message


def test_sys_exit_is_an_error_of_its_cell_and_no_verdict(isolated: Sandbox) -> None:
    with running(isolated, "import sys; sys.exit(0)", "def f():\n    return 1") as alive:
        assert "SystemExit" in alive.cells[0].error
        assert alive.process.call("f", (), {}) == 1


def test_a_call_that_never_returns_ends_at_its_limit(isolated: Sandbox) -> None:
    with running(isolated, "def f():\n    while True: pass") as alive:
        with pytest.raises(ProcessGone, match="time limit"):
            alive.process.call("f", (), {})
        with pytest.raises(ProcessGone):
            alive.process.call("f", (), {})


def test_a_cell_that_never_returns_is_left_out_and_the_rest_runs(isolated: Sandbox) -> None:
    with running(isolated, "while True: pass", "def f():\n    return 1") as alive:
        assert "time limit of 4 s" in alive.findings[0].message
        assert alive.process.call("f", (), {}) == 1


def test_sys_exit_in_a_function_is_an_error_of_that_call_alone(isolated: Sandbox) -> None:
    with running(isolated, "def f(x):\n    if x: raise SystemExit(0)\n    return 1") as alive:
        with pytest.raises(RaisedByStudent):
            alive.process.call("f", (True,), {})
        assert alive.process.call("f", (False,), {}) == 1


def test_printed_floods_are_cut(isolated: Sandbox) -> None:
    assert len(_output(isolated, "print('x' * 10**7)")) <= LAB.limits.log_bytes


def test_memory_beyond_the_limit_is_an_error_of_the_student(isolated: Sandbox) -> None:
    small = replace(LAB, limits=replace(LAB.limits, memory_bytes=2 * 1024**3))
    cells = (Cell("hog", "x = bytearray(4 * 1024**3)"),)
    with run(Notebook("test", cells), small, isolated) as alive:
        assert "MemoryError" in alive.cells[0].error


def test_the_network_and_the_graders_files_are_out_of_reach(isolated: Sandbox) -> None:
    source = "import socket\nsocket.create_connection(('192.0.2.1', 80), 1)"
    assert "OSError" in _output(isolated, source) or "unreachable" in _output(isolated, source)
    folder = hidden.folder()
    assert "FileNotFoundError" in _output(isolated, f"open({str(folder)!r} + '/cifar10.npz')")
    repository = Path(__file__).parents[2]
    for name in ("reference", "source", "tests", ".git"):
        assert "False" in _output(
            isolated, f"import os; print(os.path.exists('{repository / name}'))"
        )


def test_the_environment_and_the_processes_of_the_grader_are_hidden(
    isolated: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADER_TOKEN", "s3cret")
    source = (
        "import os, glob\n"
        "if os.access('/proc/1/environ', os.R_OK): print(open('/proc/1/environ').read())\n"
        "print(os.environ)\n"
        "print(os.getuid(), sorted(glob.glob('/proc/[0-9]*')))"
    )
    output = _output(isolated, source)
    assert "s3cret" not in output
    assert int(re.search(r"(\d+) \['/proc", output)[1]) in world.UIDS
    assert output.count("/proc/") <= 4


def test_nothing_can_be_written_outside_of_the_private_folders(isolated: Sandbox) -> None:
    for place in ("/usr/x", "/etc/x", "/course/labkit/x", "/x", "/dev/x"):
        assert "Error" in _output(isolated, f"open({place!r}, 'w')"), place


def test_the_output_folder_has_a_bound(isolated: Sandbox) -> None:
    output = _output(isolated, "open('/out/full', 'wb').write(bytes(300 * 1024**2))")
    assert "Error" in output


def test_what_a_function_raises_arrives_by_name(isolated: Sandbox) -> None:
    with running(isolated, "def f(x):\n    raise ValueError(f'bad {x}')") as alive:
        with pytest.raises(RaisedByStudent, match="bad 3") as caught:
            alive.process.call("f", (3,), {})
        assert caught.value.kind == "ValueError"


def test_tensors_go_there_and_back(isolated: Sandbox) -> None:
    with running(isolated, "def f(x, *, by):\n    return {'y': x * by}") as alive:
        answer = alive.process.call("f", (torch.ones(2, 2),), {"by": 3})
        assert torch.equal(answer["y"], torch.full((2, 2), 3.0))


def test_an_answer_that_is_not_finite_is_the_students_error(isolated: Sandbox) -> None:
    with (
        running(isolated, "def f(x):\n    return x / 0") as alive,
        pytest.raises(RaisedByStudent, match="NaN or infinite"),
    ):
        alive.process.call("f", (torch.ones(2),), {})


def test_an_answer_of_another_type_is_named(isolated: Sandbox) -> None:
    with (
        running(isolated, "def f():\n    return {1, 2}") as alive,
        pytest.raises(RaisedByStudent, match="a set cannot be returned"),
    ):
        alive.process.call("f", (), {})


def test_frames_forged_by_a_thread_end_in_a_finding_and_not_in_a_grade(isolated: Sandbox) -> None:
    forger = (
        "import os\n"
        "for fd in range(3, 64):\n"
        "    try: os.write(fd, bytes(16) + b'{}')\n"
        "    except OSError: pass\n"
    )
    with running(isolated, forger, "def f():\n    return 1") as alive:
        assert any("sent the grader something" in finding.message for finding in alive.findings)


def test_a_collected_file_is_bytes_and_a_missing_one_is_none(isolated: Sandbox) -> None:
    with running(isolated, "open('/out/model.onnx', 'wb').write(b'abc')") as alive:
        assert alive.process.collect("model.onnx") == b"abc"
        assert alive.process.collect("other") is None


def test_without_a_sandbox_cells_run_too_and_the_evidence_says_so() -> None:
    unsafe = NoSandbox()
    with running(unsafe, "x = 1", "def f():\n    return x + 1") as alive:
        assert alive.process.call("f", (), {}) == 2
    assert any("no sandbox" in lack for lack in unsafe.missing)
