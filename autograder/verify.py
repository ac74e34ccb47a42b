"""Is a grade what its evidence says? Every step that can be repeated without running is repeated.

What cannot be repeated is the running itself: that the student's cells printed this, and that a
clock showed that. Whoever doubts these grades again.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autograder import evidence, latency, published, seeds
from autograder.intake import receipt_of
from autograder.lab import Lab
from autograder.latency import PAIRS_PER_BLOCK, Block
from autograder.provenance import code_digest, file_digest
from autograder.published import Published
from autograder.records import Artefact, Evidence, Measurement
from autograder.verdict import decide
from labkit.timing import Pair

TOLERANCE = 1e-9  # relative: a figure is computed again from the same numbers


@dataclass(frozen=True)
class Step:
    """One thing that was looked at."""

    what: str
    held: bool
    found: str  # in words


def verify(path: Path, lab: Lab) -> list[Step]:
    """Check one evidence file, with what lies beside it in its class's folder.

    Args:
        path: OUT/evidence/STUDENT.jsonl.

    Raises:
        ValueError: the file is torn or no evidence.
    """
    found, out = evidence.read(path), path.parent.parent
    return [
        *_handed_in(found),
        *_made_with(found, out),
        *_measured(found),
        *_decided(found, lab, out),
    ]


def _handed_in(found: Evidence) -> Iterator[Step]:
    submission = found.submission
    receipt = receipt_of(submission.files)
    yield _equal("receipt over names, sizes and hashes", submission.receipt, receipt)
    wrong = [
        file.path for file in submission.files if not _is(submission.root / file.path, file.sha256)
    ]
    count = len(submission.files)
    said = (
        f"{count} files as they were handed in"
        if not wrong
        else f"changed or gone: {', '.join(wrong)}"
    )
    yield Step("sealed copy", not wrong, said)
    if isinstance(found.artefact, Artefact):
        yield from _artefact(found.artefact)


def _artefact(artefact: Artefact) -> Iterator[Step]:
    path = artefact.path
    present = path.is_file()
    size = path.stat().st_size if present else 0
    yield Step("artefact in canonical form", size == artefact.size_bytes, f"{size:,} bytes")
    total = sum(line.size_bytes for line in artefact.ledger) + artefact.graph_bytes
    yield _equal("ledger adds up to the artefact", total, artefact.size_bytes)
    if present:
        yield _equal("hash of the artefact", file_digest(path), artefact.sha256)


def _made_with(found: Evidence, out: Path) -> Iterator[Step]:
    made = found.provenance
    secret = out / seeds.SECRET_FILE
    if secret.is_file():
        digest = file_digest(secret)
        yield _equal("secret that the seeds come from", digest, made.secret)
    same = made.code == code_digest()
    said = "the grader's code of today" if same else f"other code, {made.code[:12]}"
    yield Step("code", True, f"{said}, version {found.grader_version}")  # a new version is no fault


def _measured(found: Evidence) -> Iterator[Step]:
    for measurement in found.measurements:
        if measurement.value is None:
            yield Step(measurement.metric, True, f"no value: {measurement.note}")
        elif measurement.metric == "compression_ratio":
            yield from _size(measurement, found)
        elif measurement.metric == "speedup":
            yield from _speed(measurement)
        else:
            yield from _quality(measurement)


def _size(measurement: Measurement, found: Evidence) -> Iterator[Step]:
    assert measurement.value is not None and isinstance(found.artefact, Artefact)
    ratio = _number(measurement, "baseline_bytes") / found.artefact.size_bytes
    yield _close("compression ratio from the bytes", ratio, measurement.value.value)


def _speed(measurement: Measurement) -> Iterator[Step]:
    assert measurement.value is not None
    interval = latency.speedup(_blocks(measurement))
    for name in ("value", "low", "high"):
        again, recorded = getattr(interval, name), getattr(measurement.value, name)
        yield _close(f"speed-up from raw timings, {name}", again, recorded)


def _quality(measurement: Measurement) -> Iterator[Step]:
    assert measurement.value is not None
    if measurement.metric == "accuracy_kept":
        again = 100 * _number(measurement, "accuracy") / _number(measurement, "baseline_accuracy")
    else:
        again = math.log(_number(measurement, "perplexity_ratio"))
    yield _close(
        f"{measurement.metric.replace('_', ' ')} from its parts", again, measurement.value.value
    )


def _decided(found: Evidence, lab: Lab, out: Path) -> Iterator[Step]:
    student = found.submission.student
    now = Published.of_verdict(student, found.graded_at, decide(lab, found))
    before = published.read(out)
    if student not in before:
        yield Step("published points", False, f"nothing is published for {student}")
        return
    stood = before[student].points
    said = f"{stood:.1f} published, {now.points:.1f} by the lab's numbers of today"
    same = not published.changes(before, [now]) and stood == now.points
    yield Step("published points", same, said)


def _blocks(measurement: Measurement) -> list[Block]:
    clocks = [measurement.samples[name] for name in Pair.__dataclass_fields__]
    pairs = [Pair(*values) for values in zip(*clocks, strict=True)]
    starts = range(0, len(pairs), PAIRS_PER_BLOCK)
    return [Block(tuple(pairs[at : at + PAIRS_PER_BLOCK]), (1.0, 1.0)) for at in starts]


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and not path.is_symlink() and file_digest(path) == sha256


def _number(measurement: Measurement, key: str) -> float:
    value = measurement.details[key]
    assert not isinstance(value, str)
    return float(value)


def _equal(what: str, found: object, recorded: object) -> Step:
    said = f"{str(found)[:24]}" if found == recorded else f"{found}, recorded is {recorded}"
    return Step(what, found == recorded, said)


def _close(what: str, again: float, recorded: float) -> Step:
    held = math.isclose(again, recorded, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return Step(what, held, f"{again:.4f}, recorded is {recorded:.4f}")
