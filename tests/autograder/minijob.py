"""A program for runners: grades the labs of minilab, and does what tests ask jobs to do."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from autograder.runners.parcel import Parcel
from autograder.runners.process import ANSWER, REQUEST, end_with_the_runner


def main(folder: Path) -> None:
    request = Parcel.read(folder / REQUEST)
    asked = json.loads(request.text)
    if "kind" in asked:
        grade(folder)
        return
    end_with_the_runner()
    getattr(sys.modules[__name__], asked["do"])(folder, request, asked)


def grade(folder: Path) -> None:
    import minilab  # here, and not above: the grader takes seconds to import

    from autograder.runners import job

    labs = {lab.number: lab for lab in (minilab.LAB, minilab.STUB)}
    job.run(folder, labs.__getitem__, Path(os.environ["MINIJOB_SOURCE"]))


def echo(folder: Path, request: Parcel, asked: dict[str, str]) -> None:
    said = json.dumps({**asked, "worker": os.environ.get("MINIJOB_WORKER", "")})
    Parcel(said, request.files).write(folder / ANSWER)


def hold(folder: Path, request: Parcel, asked: dict[str, str]) -> None:
    """Say who runs this, and end when somebody has put a file `go` there."""
    place = Path(asked["place"])
    (place / f".{os.getpid()}").write_text(str(os.getppid()))
    (place / f".{os.getpid()}").rename(place / f"begun-{os.getpid()}")
    while not (place / "go").exists():
        time.sleep(0.02)
    echo(folder, request, asked)


def poison(folder: Path, request: Parcel, asked: dict[str, str]) -> None:
    """Take the worker along."""
    Path(asked["place"], f"begun-{os.getpid()}").write_text(str(os.getppid()))
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def die(folder: Path, request: Parcel, asked: dict[str, str]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(folder: Path, request: Parcel, asked: dict[str, str]) -> None:
    raise SystemExit("the disk is full")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
