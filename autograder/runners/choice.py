"""The runners that a command line asks for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from autograder import accelerators, machine
from autograder.runners.capabilities import Capabilities
from autograder.runners.local import this_machine
from autograder.runners.runner import Runner
from autograder.sandbox import find


@contextmanager
def chosen(workers: int, scheduler: str, unsafe: bool) -> Iterator[Sequence[Runner]]:
    """A scheduler's workers if there is an address, else so many on this machine.

    One needs no engine: it is a process at a time.

    Raises:
        NoRunner: no scheduler answers at the address, or it has no workers.
        SandboxUnavailable: jobs would run on this machine, which has no sandbox.
    """
    from autograder.runners import cluster  # here: Dask takes half a second to import

    if scheduler:
        with cluster.workers_of(scheduler) as runners:
            yield runners
        return
    whole = Capabilities.of(machine.describe(find(unsafe)), accelerators.present())
    place = this_machine if workers == 1 else cluster.workers_here
    with place(workers, whole) as runners:
        yield runners
