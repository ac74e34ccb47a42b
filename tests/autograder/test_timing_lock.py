"""One timing at a time on a machine, for graders of any user."""

import logging
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder import timing_lock
from autograder.timing_lock import exclusive_timing, lock_path

HOLDER = """
import sys
from autograder.timing_lock import exclusive_timing
with exclusive_timing():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_TIMING_LOCK", str(tmp_path / "timing.lock"))
    monkeypatch.setattr(timing_lock, "POLL_S", 0.01)


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("end", ["well", "killed"])
def test_a_second_timing_waits_until_the_first_is_done_however_it_ends(
    end: str, holder: subprocess.Popen[str]
) -> None:
    timed = threading.Event()

    def time() -> None:
        with exclusive_timing():
            timed.set()

    second = threading.Thread(target=time)
    second.start()
    assert not timed.wait(0.3)
    if end == "killed":
        holder.send_signal(signal.SIGKILL)
    else:
        assert holder.stdin is not None
        holder.stdin.close()
    assert timed.wait(60)
    second.join()


def test_two_threads_of_one_process_exclude_each_other_too() -> None:
    inside, most = [0], [0]

    def time() -> None:
        for _ in range(20):
            with exclusive_timing():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                threading.Event().wait(0.001)
                inside[0] -= 1

    threads = [threading.Thread(target=time) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_who_waits_long_says_for_what(
    holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(timing_lock, "PATIENCE_S", 0.01)
    caplog.set_level(logging.INFO)

    def let_go(record: logging.LogRecord) -> bool:
        holder.kill()
        return True

    timing_lock.log.addFilter(let_go)
    try:
        with exclusive_timing():
            pass
    finally:
        timing_lock.log.removeFilter(let_go)
    assert f"another grader on this machine, which measures speed and holds {lock_path()}" in (
        caplog.text
    )


def test_every_user_may_open_the_file_and_nobody_asks_to_create_one_that_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """O_CREAT is what Linux denies on another user's file in /tmp (fs.protected_regular)."""
    before = os.umask(0o077)
    try:
        with exclusive_timing():
            assert stat.S_IMODE(lock_path().stat().st_mode) == 0o666
    finally:
        os.umask(before)
    asked, opened = [], os.open

    def spy(path: Path, flags: int, *rest: int) -> int:
        asked.append(flags)
        return opened(path, flags, *rest)

    monkeypatch.setattr(timing_lock.os, "open", spy)
    with exclusive_timing():
        pass
    assert not [flags for flags in asked if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)]


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    lock_path().symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), exclusive_timing():  # ELOOP: too many links
        pass
    assert not (tmp_path / "elsewhere").exists()
