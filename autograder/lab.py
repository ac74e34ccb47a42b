"""What a lab demands: the vocabulary that course_config.py is written in."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

MIB = 1024**2
RESOLUTION = 0.1  # of a check's points: what noise may at most decide


@dataclass(frozen=True)
class Requirement:
    """What a machine must have before a check on it means anything."""

    arch: str = ""  # as platform.machine() says it; empty: any
    isa: tuple[str, ...] = ()  # CPU flags as /proc/cpuinfo spells them, such as avx512_vnni
    cores: int = 1
    memory_bytes: int = 0
    accelerator: str = ""  # part of its name as the driver says it, such as H100; empty: any
    compute_capability: float = 0.0  # at least, such as 8.0; more than 0 asks for an accelerator
    accelerator_memory_bytes: int = 0  # the same


@dataclass(frozen=True)
class Limits:
    """What one notebook of a submission may use."""

    wall_clock_s: int = 300  # the whole notebook
    cell_s: int = 60  # one cell of it
    call_s: int = 10  # one call of a student's function by a hidden test
    exercise_s: int = 60  # all hidden tests of one exercise, with the calls that they make
    memory_bytes: int = 8192 * MIB
    processes: int = 256
    threads: int = 1  # of one process; two submissions may run beside each other
    output_bytes: int = 256 * MIB  # everything written under /out, and /tmp likewise
    output_files: int = 20_000  # files and folders in each of them
    log_bytes: int = 256 * 1024  # of what one cell prints; the rest is cut
    logs_bytes: int = 1 * MIB  # of what all cells print that is kept as evidence
    measuring_s: int = 300  # one metric of the artefact, all processes that it is measured in


@dataclass(frozen=True)
class Intake:
    """What a submission may contain. Beyond it a file is set aside with a finding, never lost."""

    file_bytes: int = 64 * MIB
    total_bytes: int = 256 * MIB
    files: int = 200


@dataclass(frozen=True)
class Artefact:
    """What the last notebook hands in, and what it is measured against."""

    file: str  # below the submission's output folder: model.onnx or model.safetensors
    baseline: str  # name in labkit.baselines
    dataset: str  # name in labkit.data.SETS; the baseline says what is done with it
    tokenizer: str = ""  # name in labkit.pretrained or labkit.tokenizers; empty: the data set's
    tokens: int = 128  # a longer text is cut; a language model's window has so many
    max_bytes: int = 128 * MIB
    hidden_count: int = 10_000  # examples of the hidden part that are graded on
    timed_batch: int = 16  # examples per timed call

    @property
    def is_checkpoint(self) -> bool:
        """Weights for the baseline's architecture, rather than a model that says its own."""
        return self.file.endswith(".safetensors")

    def __post_init__(self) -> None:
        if not self.file.endswith((".onnx", ".safetensors")):
            raise ValueError(f"the artefact is {self.file!r}; expected .onnx or .safetensors")


Metric = Literal["compression_ratio", "accuracy_kept", "delta_nll", "speedup"]


@dataclass(frozen=True)
class OnRunner:
    """Other numbers for machines of one class, where they can do more or less."""

    requires: Requirement
    full: float
    none: float
    basis: str


@dataclass(frozen=True)
class Threshold:
    """Points for one metric: all of them at `full`, none at `none`, linear between."""

    metric: Metric
    full: float
    none: float
    unit: str
    points: int
    basis: str  # where the numbers come from; shown to staff, never to students
    # Earns only if each of these earned: an uncompressed model keeps 100 %, an empty one is fast.
    needs: tuple[Metric, ...] = ()
    requires: Requirement = Requirement()
    runners: tuple[OnRunner, ...] = ()  # the first whose requirement is met counts instead
    target: str = ""  # what the course set out for; where `full` differs, with the reason

    def __post_init__(self) -> None:
        stated = [(each.full, each.none, each.basis) for each in self.runners]
        for full, none, basis in ((self.full, self.none, self.basis), *stated):
            if full == none:
                raise ValueError(f"{self.metric}: full and none must differ, both are {full}")
            if not basis:
                raise ValueError(f"{self.metric}: say where {full} {self.unit} comes from")

    def points_for(self, value: float) -> float:
        progress = (value - self.none) / (self.full - self.none)
        return self.points * min(1.0, max(0.0, progress))

    def resolves(self, low: float, high: float) -> bool:
        """Whether an interval is narrow enough to grade: its two ends earn nearly the same."""
        spread = abs(self.points_for(high) - self.points_for(low))
        return spread <= RESOLUTION * self.points


@dataclass(frozen=True)
class LatePolicy:
    """What it costs to hand in late."""

    grace_minutes: int = 0  # after a deadline in which nothing is lost
    lost_per_day: float = 0.0  # share of the points earned, for each day that has begun
    most_lost: float = 1.0

    def __post_init__(self) -> None:
        shares = (self.lost_per_day, self.most_lost)
        if self.grace_minutes < 0 or not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"minutes must be 0 or more and shares within 0 and 1, got {self}")


@dataclass(frozen=True)
class Extension:
    """A later deadline for one student."""

    student: str
    lab: str  # number
    due: str  # ISO 8601 with its zone
    reason: str  # for staff and the student

    def __post_init__(self) -> None:
        _with_zone(self.due, f"the extension of {self.student}")


def _with_zone(moment: str, whose: str) -> None:
    try:
        zone = datetime.fromisoformat(moment).tzinfo
    except ValueError:
        zone = None
    if zone is None:
        raise ValueError(
            f"{whose} is due {moment!r}; expected a time with its zone, such as "
            "2027-03-01T23:59+01:00"
        )


@dataclass(frozen=True)
class Lab:
    number: str  # "3.1"
    slug: str  # "Post_Training_Quantization"
    title: str
    notebooks: tuple[str, ...]  # without .ipynb, in the order they are worked through
    datasets: tuple[str, ...]  # names in labkit.data.SETS that student code may read
    models: tuple[str, ...] = ()  # the same in labkit.pretrained: the base of a tuned baseline too
    artefact: Artefact | None = None  # None: exercises alone
    thresholds: tuple[Threshold, ...] = ()
    limits: Limits = Limits()
    intake: Intake = Intake()
    due: str = ""  # ISO 8601 with its zone; empty: no deadline
    late: LatePolicy = LatePolicy()
    extensions: tuple[Extension, ...] = ()  # those of other labs are passed over

    def __post_init__(self) -> None:
        if self.due:
            _with_zone(self.due, self.folder)
        metrics = [threshold.metric for threshold in self.thresholds]
        if metrics and self.artefact is None:
            raise ValueError(
                f"{self.folder}: thresholds for {metrics}, but no artefact that they could be "
                "measured on"
            )
        if len(set(metrics)) != len(metrics):
            raise ValueError(f"{self.folder}: a metric has two thresholds: {metrics}")
        for threshold in self.thresholds:
            if unknown := set(threshold.needs) - set(metrics):
                raise ValueError(
                    f"{self.folder}: {threshold.metric} needs {sorted(unknown)}, which have no "
                    f"threshold; there are {metrics}"
                )

    @property
    def folder(self) -> str:
        """The lab's folder under source/ and release/."""
        return f"Lab-{self.number}-{self.slug}"
