"""Synthetic evidence for the pages: what a good, a broken and a hostile submission leave behind."""

import random
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.book.decisions import Decision
from autograder.book.totals import Comment, Total, total
from autograder.lab import Artefact as ArtefactDemand
from autograder.lab import Lab, Threshold
from autograder.records import (
    Artefact,
    Cell,
    CellRun,
    Evidence,
    Exercise,
    Finding,
    HandGraded,
    Interval,
    Machine,
    Measurement,
    Notebook,
    SealedFile,
    Submission,
    TensorBytes,
    Verdict,
)
from autograder.report import Graded
from autograder.verdict import decide

BASIS = "reference reaches 3.94 in calibration run 17"
GRADER_ROOT = "/srv/secret-grader/checkout"
HIDDEN = "assert hidden_oracle(weight) == 42"

SETUP, STATIC = "01-Setup_and_Basic_Quantization", "02-Static_Quantization"

LAB = Lab(
    number="3.1",
    slug="Post_Training_Quantization",
    title="Post-training quantization",
    notebooks=(SETUP, STATIC),
    datasets=("cifar10",),
    artefact=ArtefactDemand(file="model.onnx", baseline="resnet", dataset="cifar10"),
    thresholds=(
        Threshold("compression_ratio", 3.6, 1.0, "times smaller", 20, BASIS),
        Threshold("accuracy_kept", 98.5, 90.0, "% kept", 20, BASIS, needs=("compression_ratio",)),
        Threshold("speedup", 2.0, 1.1, "times faster", 20, BASIS, needs=("compression_ratio",)),
    ),
)
SIZE, ACCURACY, SPEED = LAB.thresholds

MACHINE = Machine(
    cpu="Intel(R) Xeon(R) Processor @ 2.10GHz",
    arch="x86_64",
    isa=("avx2", "avx512f", "avx512_vnni"),
    cores=2,
    memory_bytes=16 * 1024**3,
    versions={"python": "3.11.9", "onnxruntime": "1.23.0", "numpy": "2.3.4"},
    isolation=("bubblewrap: no network, read-only system", "seccomp filter", "rlimits"),
    missing=("cgroup memory limit: rlimit used instead",),
)
UNSAFE = replace(MACHINE, isolation=(), missing=("no sandbox: --unsafe-no-sandbox was given",))


@dataclass(frozen=True)
class Sample:
    evidence: Evidence
    verdict: Verdict

    @property
    def row(self) -> Graded:
        """What the class page is given of it."""
        return Graded.of(self.evidence, self.verdict, self.total())

    def total(self, *decided: Decision) -> Total:
        return total(self.evidence.submission.student, LAB.folder, self.verdict, decided)


def comment(about: str, words: str) -> Comment:
    return Comment(about, "tutor", "2026-03-03T09:00:00+00:00", words)


def graded(student: str = "ada") -> Sample:
    """A submission that earns nearly everything."""
    exercises = (
        Exercise(SETUP, "scale_test", 5, True),
        Exercise(SETUP, "quantize_test", 5, False, "rounds half away from zero; half to even"),
        Exercise(STATIC, "calibrate_test", 10, True, "", "AssertionError: range is too narrow"),
    )
    return assemble(student, exercises, measurements(), artefact(), runs())


def crashed(student: str = "charles") -> Sample:
    """Two notebooks that stop with an error, and no model."""
    exercises = tuple(
        Exercise(book, name, worth, False, "the function was never defined: its cell stopped")
        for book, name, worth in [
            (SETUP, "scale_test", 5),
            (SETUP, "quantize_test", 5),
            (STATIC, "calibrate_test", 10),
        ]
    )
    nothing = Finding("model.onnx", "The last notebook wrote no model. labkit.submit writes it.")
    absent = tuple(
        Measurement(threshold.metric, None, "no model was handed in")
        for threshold in LAB.thresholds
    )
    error = (
        "\x1b[0;31mValueError\x1b[0m  Traceback (most recent call last)\n"
        f'File "{GRADER_ROOT}/.venv/lib/python3.11/site-packages/torch/nn/functional.py", line 7\n'
        "ValueError: shapes (3, 4) and (5,) do not match"
    )
    stopped = {SETUP: (CellRun("scale", 0.2, "10 %\r50 %\r99 %\n", error),), STATIC: ()}
    return assemble(student, exercises, absent, nothing, stopped)


def not_timed(student: str = "grace") -> Sample:
    """All is well, but our runner was too noisy to time it."""
    good = graded(student)
    noisy = Measurement(
        "speedup",
        None,
        "the A/A run on this machine differed by 11 %; more than 6 % says nothing",
        grader_fault=True,
        details={"guard_band": 0.11},
        samples=good.evidence.measurements[2].samples,
    )
    measured = (*good.evidence.measurements[:2], noisy)
    return assemble(student, good.evidence.exercises, measured, artefact(), good.evidence.runs)


def hostile(student: str, payload: str) -> Sample:
    """The payload in every place that a student can write to."""
    exercises = (Exercise(SETUP, payload, 5, False, payload, payload),)
    ledger = (TensorBytes(payload, (3, 3), payload, 90_000), *artefact().ledger)
    stopped = {SETUP: (CellRun(payload, 0.1, payload, payload),)}
    one = assemble(student, exercises, measurements(), replace(artefact(), ledger=ledger), stopped)
    submission = replace(
        one.evidence.submission, findings=(Finding(payload, payload),), receipt=payload
    )
    evidence = replace(one.evidence, submission=submission, findings=(Finding("x", payload),))
    by_hand = (HandGraded(SETUP, payload, 5, payload),)
    checks = tuple(replace(check, note=payload) for check in one.verdict.checks)
    return Sample(evidence, Verdict(checks, by_hand))


def assemble(
    student: str,
    exercises: tuple[Exercise, ...],
    measured: tuple[Measurement, ...],
    model: Artefact | Finding,
    cell_runs: dict[str, tuple[CellRun, ...]],
) -> Sample:
    by_hand = (HandGraded(STATIC, "reflection", 10, "Per-channel scales cost 4 bytes each."),)
    evidence = Evidence(
        submission=submission(student),
        notebooks=(
            Notebook(SETUP, (Cell("scale_test", "test()", HIDDEN, 5),)),
            Notebook(STATIC, (Cell("calibrate_test", "test()", HIDDEN, 10),), by_hand),
        ),
        runs=cell_runs,
        exercises=exercises,
        artefact=model,
        measurements=measured,
        machine=MACHINE,
        grader_version="0.1.0",
        held_against="1" * 64,
        graded_at="2026-03-02T10:31:07Z",
    )
    return Sample(evidence, decide(LAB, evidence))


def submission(student: str) -> Submission:
    return Submission(
        student=student,
        lab=LAB.folder,
        root=Path(GRADER_ROOT) / "inbox",
        files=(SealedFile("model.onnx", 71_234, "0" * 64),),
        findings=(),
        receipt="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        received_at="2026-03-01T22:04:00+00:00",
    )


def artefact() -> Artefact:
    convolutions = tuple(
        TensorBytes(f"layer{n}.conv.weight_quantized", (16 * n, 16, 3, 3), "int8", 2304 * n)
        for n in range(1, 12)
    )
    scales = tuple(
        TensorBytes(f"layer{n}.conv.scale", (16 * n,), "float32", 64 * n) for n in (1, 2)
    )
    ledger = (*convolutions, *scales)
    graph_bytes = 4_321
    return Artefact(
        path=Path(GRADER_ROOT) / "work/model.onnx",
        size_bytes=sum(tensor.size_bytes for tensor in ledger) + graph_bytes,
        ledger=ledger,
        graph_bytes=graph_bytes,
        operators=("QLinearConv",),
    )


def measurements() -> tuple[Measurement, ...]:
    size_bytes = artefact().size_bytes
    ratio = 580_000 / size_bytes
    noise = random.Random(7)
    baseline = [noise.gauss(12.0, 0.5) for _ in range(200)]
    return (
        Measurement(
            "compression_ratio",
            Interval(ratio, ratio, ratio),
            details={"baseline_bytes": 580_000, "size_bytes": size_bytes},
        ),
        Measurement(
            "accuracy_kept",
            Interval(98.2, 97.7, 98.7),
            details={"baseline_accuracy": 0.8931, "accuracy": 0.877, "count": 10_000},
        ),
        Measurement(
            "speedup",
            Interval(2.31, 2.27, 2.35),
            details={"baseline_ms": 12.01, "candidate_ms": 5.2, "guard_band": 0.02},
            samples={
                "baseline_cpu_ms": baseline,
                "candidate_cpu_ms": [ms / noise.gauss(2.31, 0.12) for ms in baseline],
            },
        ),
    )


def runs() -> dict[str, tuple[CellRun, ...]]:
    return {
        SETUP: (CellRun("scale_test", 0.1, ""), CellRun("quantize_test", 0.1, "")),
        STATIC: (CellRun("calibrate_test", 1.5, "", "AssertionError: range is too narrow"),),
    }
