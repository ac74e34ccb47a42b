"""What passes from room to room. Read from top to bottom, this is how a grade comes about.

    submission folder or zip
      1 intake     Submission | Refusal
      2 rebuild    Notebook        ours, with the student's solution cells put in
      3 run        CellRun         in the sandbox; nothing that the student's code says is believed
      4 examine    Exercise        hidden tests, in our process
      5 artefact   Artefact | Finding
     ------ trust line: below it no student code runs ------
      6 measure    Measurement
      7 verdict    Verdict
      8 evidence   Evidence        everything above, as data: verdict and report are made from it
      9 report     HTML

Records refuse to hold a number that is not finite, and an outcome that contradicts itself.
"""

import math
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from autograder.lab import Metric, Threshold


@dataclass(frozen=True)
class Finding:
    """Something about the submission that its author should know, in words for its author."""

    subject: str  # a file, a cell, a metric
    message: str  # one paragraph: what was found, and what would be right


@dataclass(frozen=True)
class Refusal:
    """Intake could not make a submission of what it was given."""

    student: str
    reason: str


@dataclass(frozen=True)
class SealedFile:
    path: str  # below the submission's root, with forward slashes
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Submission:
    """A private copy of what was handed in, and what could be said without opening any of it."""

    student: str
    lab: str
    root: Path
    files: tuple[SealedFile, ...]
    findings: tuple[Finding, ...]
    receipt: str  # sha256 over names, sizes and hashes
    received_at: str  # ISO 8601, UTC: when the copy was made
    handed_in_at: str = ""  # ISO 8601, as the receipt says; empty: nothing vouches for a time


@dataclass(frozen=True)
class Cell:
    """A code cell of a rebuilt notebook."""

    id: str
    source: str
    hidden_tests: str = ""  # never leaves the grader's process
    points: int = 0  # more than 0 exactly for test cells
    of_student: bool = False  # the source is the student's


@dataclass(frozen=True)
class HandGraded:
    """A cell that a person grades: a written reflection."""

    notebook: str
    id: str
    points: int
    answer: str


@dataclass(frozen=True)
class Notebook:
    name: str
    cells: tuple[Cell, ...]
    by_hand: tuple[HandGraded, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class CellRun:
    """What happened when one cell ran in the student's process. Feedback, never a grade."""

    id: str
    seconds: float
    output: str  # what it printed, cut to the lab's limit
    error: str = ""  # the traceback; empty if it ran through


@dataclass(frozen=True)
class Exercise:
    """The answer of the hidden tests of one test cell."""

    notebook: str
    id: str
    points: int
    passed: bool
    message: str = ""  # what the student is told when it failed
    visible_error: str = (
        ""  # the last line of what the visible tests said, in the student's process
    )


@dataclass(frozen=True)
class TensorBytes:
    """One line of the size ledger."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int
    role: str = "other"  # weight, codes, scale, zero point, bias, norm, embedding (roles.py)
    elements: int = 0  # values that it stands for; a byte of packed codes holds two
    zeros: int = 0  # of these


@dataclass(frozen=True)
class Artefact:
    """A compressed model that parsed, in canonical form: names, comments and order are ours."""

    path: Path
    size_bytes: int
    ledger: tuple[TensorBytes, ...]
    graph_bytes: int  # nodes and attributes: what is in the file beside the tensors
    operators: tuple[str, ...]
    sha256: str = ""
    dense: Path | None = None  # of a checkpoint, the same model as ONNX in FP32

    @property
    def runs(self) -> Path:
        """What ONNX Runtime is given: the canonical model itself, unless it is a checkpoint."""
        return self.dense or self.path


@dataclass(frozen=True)
class Interval:
    """A confidence interval around a value, of 95 % at least."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.value, self.low, self.high))):
            raise ValueError(f"an interval must be finite, got {self}")
        if not self.low <= self.value <= self.high:
            raise ValueError(f"the value lies outside of its interval: {self}")


@dataclass(frozen=True)
class Measurement:
    """One metric of one artefact. `value` is None when there was nothing to measure."""

    metric: Metric
    value: Interval | None
    note: str = ""  # in words for the student, e.g. why there is no value
    grader_fault: bool = False  # we could not measure: no fault of the student's
    details: dict[str, float | int | str] = field(default_factory=dict)  # shown in the report
    samples: dict[str, list[float]] = field(default_factory=dict)  # raw, in the unit of the key

    def __post_init__(self) -> None:
        if self.grader_fault and self.value is not None:
            raise ValueError(f"{self.metric}: a value measured during a fault is not a value")
        if self.value is None and not self.note:
            raise ValueError(f"{self.metric}: without a value there must be a note that says why")
        numbers = [x for xs in self.samples.values() for x in xs]
        numbers += [x for x in self.details.values() if isinstance(x, float)]
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"{self.metric}: samples and details must be finite")


class Outcome(Enum):
    PASSED = "passed"
    PARTIAL = "partial"
    FAILED = "failed"
    NOT_GRADED = "not graded"


@dataclass(frozen=True)
class Check:
    """One line of the verdict: an exercise, or a threshold of the artefact."""

    name: str
    outcome: Outcome
    points: float | None  # None exactly when the outcome is NOT_GRADED
    of: int
    note: str  # in words for the student
    threshold: Threshold | None = None
    measurement: Measurement | None = None

    def __post_init__(self) -> None:
        if (self.points is None) != (self.outcome is Outcome.NOT_GRADED):
            raise ValueError(f"{self.name}: {self.points} points contradict {self.outcome}")
        if self.points is not None and not 0 <= self.points <= self.of:
            raise ValueError(f"{self.name}: {self.points} points of {self.of}")


@dataclass(frozen=True)
class Verdict:
    checks: tuple[Check, ...]
    by_hand: tuple[HandGraded, ...]  # points that a person has still to give

    @property
    def points(self) -> float:
        """The points that stand: those not graded yet are not among them, nor counted as zero."""
        return sum(check.points for check in self.checks if check.points is not None)

    @property
    def of(self) -> int:
        return sum(check.of for check in self.checks)

    @property
    def open(self) -> tuple[Check, ...]:
        """The checks that we owe the student: NOT_GRADED until a repeated run settles them."""
        return tuple(check for check in self.checks if check.outcome is Outcome.NOT_GRADED)


@dataclass(frozen=True)
class Machine:
    """What a measurement ran on, and what could not be had."""

    cpu: str
    arch: str
    isa: tuple[str, ...]  # the flags that decide which integer kernels run
    cores: int
    memory_bytes: int
    versions: dict[str, str]
    isolation: tuple[str, ...]  # what the sandbox had
    missing: tuple[str, ...]  # what it had not, in words
    core_numbers: tuple[int, ...] = ()  # that a process may be held to


@dataclass(frozen=True)
class Provenance:
    """What a grade was made with, as sha256 (provenance.py); empty where there was none."""

    code: str = ""
    hidden_data: str = ""
    baseline: str = ""
    secret: str = ""  # of the class: with the secret itself, every seed can be checked


@dataclass(frozen=True)
class Evidence:
    """All that is known of one graded submission. Verdict and report are made from it alone."""

    submission: Submission
    notebooks: tuple[Notebook, ...]
    runs: dict[str, tuple[CellRun, ...]]  # by notebook
    exercises: tuple[Exercise, ...]
    artefact: Artefact | Finding | None  # None: the lab asks for none
    measurements: tuple[Measurement, ...]
    machine: Machine
    grader_version: str
    held_against: str  # sha256 of the lab's cells and demands (standing.py)
    graded_at: str  # ISO 8601, UTC
    findings: tuple[Finding, ...] = ()  # of every room, in the order they were found
    provenance: Provenance = Provenance()
