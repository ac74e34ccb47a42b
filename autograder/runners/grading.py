"""The job `grade`: one sealed submission to its evidence. Asked for here, answered at a runner.

The secret of the class run travels with it, so that seeds are the same on every machine, and so
does the hash of what the submission is held against: a runner with another version of the lab
does not grade.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from pydantic import TypeAdapter

from autograder import __version__, evidence, grade, sandbox, seeds
from autograder.lab import Lab
from autograder.records import Artefact, Evidence, Submission
from autograder.runners import kept
from autograder.runners.capabilities import Needs
from autograder.runners.parcel import Parcel
from autograder.runners.process import scratch
from autograder.runners.runner import Answer, Job

KIND = "grade"
EVIDENCE = "evidence.jsonl"
ARTEFACT = "artefact/"  # before the names of files that belong to it


class WrongVersion(Exception):
    """The runner would grade something else than what was asked for."""


@dataclass(frozen=True)
class _Request:
    lab: str  # its number
    held_against: str
    grader_version: str
    submission: Submission  # its root is the asker's
    secret: str  # of the class run, in hexadecimal digits
    run: str  # which class run; what is measured once per run is kept under this name
    unsafe: bool  # student code may run without a sandbox
    kind: str = KIND


_REQUEST = TypeAdapter(_Request)


@dataclass(frozen=True)
class Run:
    """What all jobs of a class run have in common."""

    number: str  # hexadecimal digits
    secret: bytes
    unsafe: bool


@dataclass(frozen=True)
class Place:
    """Where a job is done: its folder, and what this machine has of the course."""

    folder: Path
    lab_of: Callable[[str], Lab]
    source: Path


def job(submission: Submission, lab: Lab, held_against: str, run: Run, needs: Needs) -> Job:
    request = _Request(
        lab=lab.number,
        held_against=held_against,
        grader_version=__version__,
        submission=submission,
        secret=run.secret.hex(),
        run=run.number,
        unsafe=run.unsafe,
    )
    files = {file.path: (submission.root / file.path).read_bytes() for file in submission.files}
    return Job(Parcel(_REQUEST.dump_json(request).decode(), files), needs)


def graded(asked: Parcel, place: Place) -> Answer:
    """At the runner: grade a submission in the job's folder.

    Raises:
        WrongVersion: the lab, the grader or a file is not what was asked about.
        SandboxUnavailable, NotebookError, SourceUnavailable: as grading here does.
    """
    request = _REQUEST.validate_json(asked.text)
    submission = _unsealed(request.submission, asked.files, place.folder / "sealed")
    lab, out = place.lab_of(request.lab), place.folder / "out"
    once = scratch() / f"run-{int(request.run, 16):032x}"
    grader = grade.prepare(lab, place.source, sandbox.find(request.unsafe), once, print_nothing)
    if (__version__, grader.held_against) != (request.grader_version, request.held_against):
        raise WrongVersion(
            f"grader {__version__} with {lab.folder} {grader.held_against[:12]} stands here, asked "
            f"was for {request.grader_version} with {request.held_against[:12]}; update the course"
        )
    if lab.artefact is not None:
        measured = cache(partial(kept.baseline, grader.baseline, once))
        grader = replace(grader, baseline=measured)
    _hide(request.secret, out)
    found = grade.grade(submission, grader, out, print_nothing)
    return Parcel('{"kind": "grade"}', _answer_files(found, out))


def answered(answer: Answer, submission: Submission, held_against: str, out: Path) -> Evidence:
    """Write the evidence of an answer, and the artefact, as if it had been graded here.

    Raises:
        WrongVersion: the answer is about something else.
        ValueError: it is no evidence.
    """
    found = evidence.parse(answer.files[EVIDENCE].decode(), "the runner's answer")
    about = (found.submission.receipt, found.held_against, found.grader_version)
    if about != (submission.receipt, held_against, __version__):
        raise WrongVersion(f"{submission.student}: the answer is about other files or tests")
    folder = out / "artefacts" / submission.student
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in answer.files.items():
        if name.startswith(ARTEFACT):
            (folder / name.removeprefix(ARTEFACT)).write_bytes(content)
    artefact = found.artefact
    if isinstance(artefact, Artefact):
        dense = artefact.dense and folder / artefact.dense.name
        artefact = replace(artefact, path=folder / artefact.path.name, dense=dense)
    path = grade.evidence_path(submission.student, out)
    evidence.write(replace(found, submission=submission, artefact=artefact), path)
    return evidence.read(path)


def print_nothing(_: str) -> None:
    """The progress of a job is not shown: who asked sees when it is done."""


def _unsealed(submission: Submission, files: Mapping[str, bytes], root: Path) -> Submission:
    """The sealed copy once more, from the bytes that came. Raises WrongVersion if they differ."""
    if {file.path for file in submission.files} != set(files):
        raise WrongVersion(f"{submission.student}: the files that came are not those of the seal")
    root.mkdir()
    for file in submission.files:
        if hashlib.sha256(files[file.path]).hexdigest() != file.sha256:
            raise WrongVersion(f"{submission.student}: {file.path} is not what was sealed")
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[file.path])
    return replace(submission, root=root)


def _hide(secret: str, out: Path) -> None:
    out.mkdir()
    path = out / seeds.SECRET_FILE
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(bytes.fromhex(secret))


def _answer_files(found: Evidence, out: Path) -> dict[str, bytes]:
    student = found.submission.student
    folder = out / "artefacts" / student
    artefact = sorted(folder.iterdir()) if folder.is_dir() else []
    return {EVIDENCE: grade.evidence_path(student, out).read_bytes()} | {
        ARTEFACT + path.name: path.read_bytes() for path in artefact if path.is_file()
    }
