"""The protocol of a runner, and which one gets a job."""

import json
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from autograder.runners.capabilities import Capabilities, Needs
from autograder.runners.parcel import FAULT, Fault, Parcel

GRADER = "autograder.cli job"  # what a job's process runs: `python -m` this, and a folder


class NoRunner(Exception):
    """There is nothing that a job could run on. The message says why, and what to do."""


@dataclass(frozen=True)
class Job:
    asks: Parcel
    needs: Needs = field(default_factory=Needs)


Answer = Parcel


class Pending:
    """The jobs of a runner that have no answer yet."""

    def __init__(self) -> None:
        self._futures: set[Future[Answer | Fault]] = set()

    def __len__(self) -> int:
        return len(self._futures)

    def add(self, future: "Future[Answer | Fault]") -> "Future[Answer | Fault]":
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future


class Runner(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def slots(self) -> int:
        """Jobs that it runs at the same time."""
        ...

    @property
    def pending(self) -> Pending: ...

    def submit(self, job: Job) -> "Future[Answer | Fault]":
        """Start a job, or let it wait for its turn. The future raises nothing of its own."""
        ...


def route(runners: Sequence[Runner], needs: Needs) -> Runner | Fault:
    """The cheapest runner that fits and is free, of equal ones the first.

    Where all are busy it is the cheapest of those with the shortest queue for each of their slots:
    a job waits for a runner that fits, and for nothing else.

    Returns:
        A fault that says of each runner what it lacks, if none fits.
    """
    lacking = {runner.name: runner.capabilities.lacks(needs) for runner in runners}
    fitting = [runner for runner in runners if not lacking[runner.name]]
    if fitting:
        return min(
            fitting,
            key=lambda one: (len(one.pending) // one.slots, one.capabilities.beyond(needs)),
        )
    told = "; ".join(f"{name}: {why}" for name, why in lacking.items())
    return Fault(f"No runner can do this. {told or 'There is none.'}")


def submit(runners: Sequence[Runner], job: Job) -> "Future[Answer | Fault]":
    """Give a job to the runner that fits it best. Where none does, the answer is there at once."""
    found = route(runners, job.needs)
    if not isinstance(found, Fault):
        return found.submit(job)
    nowhere: Future[Answer | Fault] = Future()
    nowhere.set_result(found)
    return nowhere


def outcome(packed: bytes) -> Answer | Fault:
    """What a job's process answered. Raises TornParcel if that is no parcel."""
    answer = Parcel.unpack(packed)
    said = json.loads(answer.text)
    return Fault(str(said[FAULT])) if FAULT in said else answer
