"""Dask as runners: one for each kind of worker, all workers that advertise the same being a kind.

Dask places a job among the workers of a kind, and repeats it on another one when a worker is lost
(at most `distributed.scheduler.allowed-failures` times). What Dask would leave pending for ever is
answered here: a kind whose last worker is gone, and does not come back.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import dask
import distributed
from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker

from autograder.runners.capabilities import Capabilities
from autograder.runners.parcel import Fault
from autograder.runners.process import perform
from autograder.runners.resources import CPU, advertised, advertisement, taken
from autograder.runners.runner import GRADER, Answer, Job, NoRunner, Pending, outcome

POLL_S = 1.0  # between two looks at whether the workers of a job still live
RETURN_S = 30.0  # that a lost worker has to come back: a nanny starts a new one in two
ATTEMPTS = 3  # for a job whose kind lost all its workers
CONNECT_S = 10.0

Kind = tuple[tuple[str, float], ...]  # resources and their numbers, sorted

# A worker's own process reads this before it imports anything; one thread each is Dask's default.
QUIET = {"DASK_LOGGING__DISTRIBUTED": "warning", "OMP_NUM_THREADS": "1"}
logging.getLogger("distributed").setLevel(logging.WARNING)  # it sets INFO when it is imported


@dataclass(frozen=True)
class DaskRunner:
    """The workers of one kind."""

    name: str
    capabilities: Capabilities
    slots: int
    client: Client
    kind: Kind
    pool: ThreadPoolExecutor  # its threads wait for answers
    program: str
    pending: Pending = field(default_factory=Pending)

    def submit(self, job: Job) -> "Future[Answer | Fault]":
        return self.pending.add(self.pool.submit(self._attended, job))

    def _attended(self, job: Job) -> Answer | Fault:
        try:
            for _ in range(ATTEMPTS):
                if not (addresses := self._workers(RETURN_S)):
                    return Fault(f"{self.name}: its last worker is gone, and did not come back.")
                packed = self._tried(job, addresses)
                if packed is not None:
                    return outcome(packed)
        except KilledWorker as lost:
            return Fault(f"{self.name}: every worker that ran this job was lost ({lost}).")
        except Exception as error:
            return Fault(f"{self.name}: {type(error).__name__}: {error}")
        return Fault(f"{self.name}: the job was begun {ATTEMPTS} times, and its workers were lost.")

    def _tried(self, job: Job, addresses: set[str]) -> bytes | None:
        """The answer's bytes; None if all these workers are gone."""
        future = self.client.submit(
            perform,
            *(self.program, job.asks.pack()),
            workers=sorted(addresses),
            resources=taken(job.needs, dict(self.kind)),
            pure=False,
        )
        try:
            while True:
                try:
                    return bytes(future.result(timeout=POLL_S))
                except distributed.TimeoutError:
                    if not addresses & self._workers(0.0):
                        return None
        finally:
            future.cancel()

    def _workers(self, patience_s: float) -> set[str]:
        """Addresses of the workers of this kind that live; waits for one to come back."""
        end = time.monotonic() + patience_s
        while True:
            kinds = _kinds(self.client)
            if found := {address for address, kind in kinds.items() if kind == self.kind}:
                return found
            if time.monotonic() >= end:
                return set()
            time.sleep(POLL_S)


@contextmanager
def workers_here(
    workers: int, whole: Capabilities, program: str = GRADER
) -> Iterator[list[DaskRunner]]:
    """A cluster of its own on this machine.

    Its processes speak TLS with a certificate that nobody else has: whoever could talk to the
    scheduler could run code as this user.

    Args:
        workers: processes, one job each at a time.
        whole: what the machine has, which they share.
    """
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": QUIET}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            worker_dashboard_address=None,
            memory_limit=0,  # of the process that only waits for a job's
            resources=advertisement(whole.shared_by(workers)),
            security=True,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield from _runners(client, program)


@contextmanager
def workers_of(address: str, program: str = GRADER) -> Iterator[list[DaskRunner]]:
    """The workers of a scheduler that runs.

    Raises:
        NoRunner: no scheduler answers there, or it has no workers.
    """
    with ExitStack() as held:
        try:
            client = held.enter_context(Client(address, timeout=CONNECT_S))
        except (OSError, ValueError, TypeError) as error:
            raise NoRunner(
                f"no Dask scheduler answers at {address} ({error}); start one with "
                "`dask scheduler`, and give its address, such as tcp://10.0.0.5:8786"
            ) from error
        if not _kinds(client):
            raise NoRunner(
                f"the scheduler at {address} has no workers; `course doctor` prints how to start "
                "one on each machine"
            )
        yield from _runners(client, program)


def _runners(client: Client, program: str) -> Iterator[list[DaskRunner]]:
    kinds = _kinds(client)
    with ExitStack() as pools:
        found = []
        for kind in sorted(set(kinds.values())):
            has = advertised(dict(kind))
            slots = max(1, has.cores) * list(kinds.values()).count(kind)
            pool = ThreadPoolExecutor(4 * slots)  # workers may join
            pools.callback(pool.shutdown, wait=False, cancel_futures=True)
            found.append(DaskRunner(_name(kind), has, slots, client, kind, pool, program))
        yield found


def _kinds(client: Client) -> dict[str, Kind]:
    """By the address of a worker."""
    workers: Mapping[str, Mapping[str, Mapping[str, float]]]
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return {address: tuple(sorted(one["resources"].items())) for address, one in workers.items()}


def _name(kind: Kind) -> str:
    said = [name if number == 1 else f"{name}={number:g}" for name, number in kind]
    if CPU not in dict(kind):
        said.append(f"no {CPU}=N, so no job")
    return f"Dask workers with {' '.join(said)}"
