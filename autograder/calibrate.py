"""What the thresholds of a lab stand between, measured as students' models are.

The reference is the instructor's solution; the naive methods are samples that say so in a line of
their own, `# calibrates: naive`. Only the notebook that hands in the model is run. A proposal is a
proposal: the numbers in course_config.py are an instructor's.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter

from autograder import artefact, measure, samples, seeds
from autograder.baseline import Baseline
from autograder.files import write_whole
from autograder.grade import Grader, Tell
from autograder.intake import seal
from autograder.lab import Lab, Metric, Threshold
from autograder.machine import here
from autograder.notebooks import work_through
from autograder.records import Artefact, Finding, Interval, Machine, Measurement, Refusal
from autograder.samples import Sample, SampleError
from autograder.steps import Steps

FOLDER = "calibration"  # below the lab's samples
MARGIN = 0.05  # of the way from the reference down to the naive methods
DIGITS = 3


@dataclass(frozen=True)
class Method:
    """One way to make the model, measured several times."""

    name: str
    strategy: str
    naive: bool
    runs: tuple[tuple[Measurement, ...], ...]  # raw samples left out

    def intervals(self, metric: str) -> list[Interval]:
        found = [m.value for run in self.runs for m in run if m.metric == metric]
        return [value for value in found if value is not None]


@dataclass(frozen=True)
class Proposal:
    metric: Metric
    full: float
    none: float
    basis: str
    warning: str  # why the threshold cannot be told apart from chance here; empty if it can


@dataclass(frozen=True)
class Calibration:
    lab: str
    machine: Machine
    methods: tuple[Method, ...]
    proposals: tuple[Proposal, ...]


@dataclass(frozen=True)
class Folders:
    source: Path
    release: Path
    samples: Path
    work: Path


_ADAPTER = TypeAdapter(Calibration)


def calibrate(lab: Lab, folders: Folders, grader: Grader, runs: int, tell: Tell) -> Calibration:
    """Run the reference and every naive method, and measure each several times.

    Raises:
        SampleError: there is no naive sample, or one hands in no model.
    """
    baseline = grader.baseline()
    if baseline is None:
        raise SampleError(f"{lab.folder} asks for no model, so there is nothing to calibrate")
    methods = tuple(_methods(lab, folders, grader, baseline, runs, tell))
    measurable = [t for t in lab.thresholds if any(m.intervals(t.metric) for m in methods)]
    machine = grader.ruler.machine
    proposals = tuple(propose(here(t, machine), methods) for t in measurable)
    return Calibration(lab.folder, machine, methods, proposals)


def propose(threshold: Threshold, methods: Sequence[Method]) -> Proposal:
    """Numbers between the worst of the reference and the best of the naive methods.

    A naive method that keeps everything because it compresses nothing is held back by `needs`, so
    accuracy is proposed against those that do compress.
    """
    reference = [i for m in methods if not m.naive for i in m.intervals(threshold.metric)]
    naive = [i for m in methods if m.naive for i in m.intervals(threshold.metric)]
    up = 1.0 if threshold.full > threshold.none else -1.0
    worst = up * min(up * end for i in reference for end in (i.low, i.high))
    best = _best_below(worst, naive, up)
    full = worst - MARGIN * (worst - best)
    basis = (
        f"reference {_spread(reference)}, naive methods {_spread(naive)} {threshold.unit}; "
        f"`course calibrate`"
    )
    return Proposal(
        threshold.metric, _rounded(full), _rounded(best), basis,
        _warning(threshold, reference, worst, best),
    )  # fmt: skip


def write(found: Calibration, path: Path) -> None:
    document = _ADAPTER.dump_python(found, mode="json")
    write_whole(json.dumps(document, indent=1, allow_nan=False) + "\n", path)


def read(path: Path) -> Calibration:
    """Raises ValueError if the file is no calibration."""
    return _ADAPTER.validate_json(path.read_text(encoding="utf-8"))


def _methods(
    lab: Lab, folders: Folders, grader: Grader, baseline: Baseline, runs: int, tell: Tell
) -> Iterator[Method]:
    naive = samples.read_all(folders.samples / lab.folder / FOLDER)
    if not naive:
        raise SampleError(f"there is no naive method in {folders.samples / lab.folder / FOLDER}")
    reference = Sample("reference", "The instructor's solution.", False, {})
    begin = Steps((1 + len(naive)) * (1 + runs), tell).begin
    for sample in (reference, *naive):
        begin(f"{sample.name}: making the model")
        model = _model(sample, lab, folders, grader)
        measured = []
        for number in range(1, runs + 1):
            begin(f"{sample.name}: measuring, {number} of {runs}")
            found = measure.measure(model, baseline, grader.ruler)
            measured.append(tuple(_without_samples(each) for each in found))
        yield Method(sample.name, sample.strategy, sample is not reference, tuple(measured))


def _model(sample: Sample, lab: Lab, folders: Folders, grader: Grader) -> Artefact:
    place = folders.work / sample.name
    shutil.rmtree(place, ignore_errors=True)
    source, release = folders.source / lab.folder, folders.release / lab.folder
    sealed = seal(samples.write(sample, source, release, place / "handed-in"), lab, place)
    if isinstance(sealed, Refusal):
        raise SampleError(f"{sample.name}: {sealed.reason}")
    last = lab.notebooks[-1]
    seed_of = partial(seeds.seed_for, b"calibration", sample.name, last)
    cells = grader.sources[last]
    ran = work_through(last, cells, sealed, lab, grader.ruler.sandbox, seed_of)
    assert lab.artefact is not None
    found = artefact.load(ran.artefact, lab.artefact, place, grader.ruler.sandbox)
    if isinstance(found, Finding):
        raise SampleError(f"{sample.name} hands in no model: {found.message}")
    return found


def _without_samples(measurement: Measurement) -> Measurement:
    return Measurement(
        measurement.metric, measurement.value, measurement.note, measurement.grader_fault,
        measurement.details,
    )  # fmt: skip


def _best_below(worst: float, naive: Sequence[Interval], up: float) -> float:
    """The naive value nearest to the reference that is worse than it, or nothing at all."""
    worse = [up * i.value for i in naive if up * i.value < up * worst]
    return up * max(worse) if worse else worst - up * abs(worst) / 10


def _warning(threshold: Threshold, reference: Sequence[Interval], worst: float, best: float) -> str:
    widest = max(reference, key=lambda interval: interval.high - interval.low)
    if not threshold.resolves(widest.low, widest.high):
        return (
            f"one measurement cannot tell {widest.low:.4g} from {widest.high:.4g} "
            f"{threshold.unit}, which earn {threshold.points_for(widest.low):.1f} and "
            f"{threshold.points_for(widest.high):.1f} of {threshold.points} points: more "
            "examples, or a wider span between `full` and `none`"
        )
    if abs(worst - best) <= widest.high - widest.low:
        return "the naive methods lie within the noise of the reference: this metric tells nothing"
    return ""


def _spread(intervals: Sequence[Interval]) -> str:
    values = [interval.value for interval in intervals]
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    return low if low == high else f"{low} to {high}"


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
