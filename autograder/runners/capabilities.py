"""What a runner has, and what it lacks of what a job needs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from autograder import accelerators as gpus
from autograder.accelerators import Accelerator
from autograder.lab import Lab, Requirement
from autograder.machine import lacks
from autograder.records import Machine


@dataclass(frozen=True)
class Needs:
    """What a job cannot do without."""

    machine: Requirement = field(default_factory=Requirement)
    timing: bool = False  # it measures speed


@dataclass(frozen=True)
class Capabilities:
    """What a job on a runner finds."""

    cpu: str  # a name, for messages
    arch: str
    isa: tuple[str, ...]  # flags of machine.ISA
    cores: int
    memory_bytes: int
    accelerators: tuple[Accelerator, ...] = ()
    exclusive_timing: bool = False  # it takes part in the machine's lock, and may measure speed

    @classmethod
    def of(cls, machine: Machine, accelerators: Sequence[Accelerator]) -> "Capabilities":
        """All of a machine: nothing but its own lock is between a job and a timing."""
        return cls(
            cpu=machine.cpu,
            arch=machine.arch,
            isa=machine.isa,
            cores=machine.cores,
            memory_bytes=machine.memory_bytes,
            accelerators=tuple(accelerators),
            exclusive_timing=True,
        )

    def shared_by(self, workers: int) -> "Capabilities":
        """What each of several workers has: at least one core, and accelerators not in halves."""
        return replace(
            self,
            cores=max(1, self.cores // workers),
            memory_bytes=self.memory_bytes // workers,
            accelerators=self.accelerators[: len(self.accelerators) // workers],
        )

    def lacks(self, needs: Needs) -> str:
        """What it has not, in words; empty if it has all."""
        if needs.timing and not self.exclusive_timing:
            return "it measures speed, and no timing is done there"
        return lacks(self, needs.machine, self.accelerators)

    def beyond(self, needs: Needs) -> tuple[int, int, int, int]:
        """What would lie idle, the dearest first: the runner with the least of it is cheapest."""
        asked = needs.machine
        return (
            len(self.accelerators) - bool(gpus.wanted(asked)),
            len(set(self.isa) - set(asked.isa)) + (self.exclusive_timing and not needs.timing),
            self.cores - asked.cores,
            self.memory_bytes - asked.memory_bytes,
        )


def needs_of(lab: Lab) -> tuple[Needs, ...]:
    """What grading a submission of a lab needs: first all that its checks require, then the least.

    A runner with the least leaves open what it cannot measure, and says why, as this machine does.
    Timing is no such thing: who may not measure speed would do it all the same.
    """
    timing = any(threshold.metric == "speedup" for threshold in lab.thresholds)
    every = [threshold.requires for threshold in lab.thresholds]
    full = Requirement(
        arch=next((one.arch for one in every if one.arch), ""),
        isa=tuple(sorted({flag for one in every for flag in one.isa})),
        cores=max((one.cores for one in every), default=1),
        memory_bytes=max((one.memory_bytes for one in every), default=0),
        accelerator=next((one.accelerator for one in every if one.accelerator), ""),
        compute_capability=max((one.compute_capability for one in every), default=0.0),
        accelerator_memory_bytes=max((one.accelerator_memory_bytes for one in every), default=0),
    )
    return Needs(full, timing), Needs(timing=timing)
