"""A class of submissions on runners: the same evidence, reports and class page as one by one."""

import secrets
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from autograder import seeds
from autograder.classrun import ClassResult, Place, grade_class
from autograder.grade import Grader, Tell, prepare
from autograder.lab import Lab, Limits
from autograder.records import Evidence, Submission
from autograder.runners import grading
from autograder.runners.capabilities import Needs, needs_of
from autograder.runners.grading import Run
from autograder.runners.parcel import Fault
from autograder.runners.runner import Answer, Job, NoRunner, Runner, route, submit
from autograder.sandbox import SandboxUnavailable

RUN_BYTES = 16


class RunnerFault(Exception):
    """A submission has no answer from any runner. The message says why."""


def grade_class_on(
    runners: Sequence[Runner],
    submissions: Path,
    lab: Lab,
    source: Path,
    out: Path,
    tell: Tell,
    *,
    again: bool = False,
    unsafe: bool = False,
) -> ClassResult:
    """As classrun.grade_class, each submission in a job of its own.

    What is sealed, settled already, written and reported is so on this machine; student code runs
    on the runners alone.

    Args:
        source: the folder of source notebooks; the runners have the same one.
        unsafe: student code may run without a sandbox there.

    Raises:
        AlreadyGrading: another grader works on `out`.
        NoRunner: none of them may grade this lab.
    """
    needs = _needs(lab, runners)
    fitting = [one for one in runners if not one.capabilities.lacks(needs)]
    run = Run(secrets.token_hex(RUN_BYTES), seeds.secret_of(out), unsafe)
    place = Place(
        grade=_OnRunners(fitting, needs, run).grade,
        ready=lambda _: None,  # each machine gets ready by itself
        equipment=tuple(runner.capabilities for runner in fitting),
        width=sum(runner.slots for runner in fitting),
    )
    nowhere = Elsewhere(() if unsafe else ("the runner's",))
    return grade_class(
        submissions, lab, lambda: prepare(lab, source, nowhere, out, tell), out, tell, again, place
    )


def _needs(lab: Lab, runners: Sequence[Runner]) -> Needs:
    """All that the lab's checks need, or else the least that a runner must have."""
    fault = Fault("")
    for needs in needs_of(lab):
        found = route(runners, needs)
        if not isinstance(found, Fault):
            return needs
        fault = found
    raise NoRunner(fault.reason)


@dataclass(frozen=True)
class _OnRunners:
    runners: Sequence[Runner]
    needs: Needs
    run: Run
    routing: threading.Lock = field(default_factory=threading.Lock)

    def grade(self, submission: Submission, grader: Grader, out: Path, tell: Tell) -> Evidence:
        """Raises RunnerFault if the runner has no answer."""
        job = grading.job(submission, grader.lab, grader.held_against, self.run, self.needs)
        tell(f"{submission.student}: on a runner, or waiting for one")
        answer = self._sent(job).result()
        if isinstance(answer, Fault):
            raise RunnerFault(answer.reason)
        return grading.answered(answer, submission, grader.held_against, out)

    def _sent(self, job: Job) -> "Future[Answer | Fault]":
        with self.routing:  # or two jobs would take the same free slot
            return submit(self.runners, job)


@dataclass(frozen=True)
class Elsewhere:
    """The sandbox of a machine that runs no student code."""

    isolation: tuple[str, ...]
    missing: tuple[str, ...] = ()

    def sees(self, inside: str, host: Path) -> str:
        return inside

    def worker(self, reads: Mapping[str, Path], limits: Limits) -> NoReturn:
        raise SandboxUnavailable("student code runs on the runners, and not here")

    def start(self, module: Sequence[str], reads: Mapping[str, Path], limits: Limits) -> NoReturn:
        raise SandboxUnavailable("models run on the runners, and not here")
