"""This machine as a runner, without an engine."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from autograder.runners.capabilities import Capabilities
from autograder.runners.parcel import Fault
from autograder.runners.process import perform
from autograder.runners.runner import GRADER, Answer, Job, Pending, outcome


@dataclass(frozen=True)
class LocalRunner:
    name: str
    capabilities: Capabilities  # of one slot
    slots: int
    pool: ThreadPoolExecutor
    program: str
    pending: Pending = field(default_factory=Pending)

    def submit(self, job: Job) -> "Future[Answer | Fault]":
        return self.pending.add(self.pool.submit(self._done, job))

    def _done(self, job: Job) -> Answer | Fault:
        try:
            return outcome(perform(self.program, job.asks.pack()))
        except Exception as error:
            return Fault(f"{self.name}: {type(error).__name__}: {error}")


@contextmanager
def this_machine(
    slots: int, whole: Capabilities, program: str = GRADER
) -> Iterator[list[LocalRunner]]:
    """Jobs in processes of this one, as many at a time as there are slots.

    Args:
        slots: one, or as many as there are cores.
        whole: what the machine has, which the slots share.
    """
    pool = ThreadPoolExecutor(slots)
    try:
        yield [LocalRunner("this machine", whole.shared_by(slots), slots, pool, program)]
    finally:
        pool.shutdown(cancel_futures=True)
