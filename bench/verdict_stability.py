"""Does a verdict on speed come out the same again? `python -m bench.verdict_stability [--json]`.

One INT8 model of lab 3.1 is regraded many times while another process keeps a core busy. All blocks
of the whole schedule are timed in every regrade and the schedule is replayed on them for several
thresholds, placed relative to the ratio that all blocks together say: far below it (a clear
submission), at it (a borderline one), beyond it. Outside of the guard band no verdict may differ.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from autograder import artefact, machine, sandbox
from autograder.baseline import Baseline, measure_baseline
from autograder.lab import Threshold
from autograder.latency import SCHEDULE, Block, speedup
from autograder.records import Artefact, Evidence, Machine, Measurement, Submission
from autograder.ruler import Ruler
from autograder.schedule import NoMoreBlocks, Timing, collect
from autograder.verdict import decide
from course_config import LAB_3_1
from labkit import data, export

PLACES = (0.75, 0.90, 0.95, 0.98, 1.00, 1.02, 1.05, 1.10)  # of the threshold, by the ratio
SPARE = 6  # blocks beyond the schedule, for those that are disturbed


@dataclass(frozen=True)
class Row:
    place: float  # threshold over the ratio that all blocks together say
    passed: int
    partial: int
    not_graded: int
    lowest_points: float  # of ten, among those that are graded
    highest_points: float
    mean_blocks: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regrades", type=int, default=100)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    isolated = sandbox.find(allow_unsafe=False)
    ruler = Ruler(LAB_3_1, isolated, machine.describe(isolated))
    with tempfile.TemporaryDirectory() as folder, _competing_load():
        baseline = measure_baseline(ruler, Path(folder))
        model = _int8(ruler, Path(folder))
        regrades = list(_regrades(ruler, baseline, model, arguments.regrades))
    truth = math.exp(median(block.log_ratio for blocks in regrades for block in blocks))
    rows = [_row(place, truth, regrades) for place in PLACES]
    assert baseline.noise is not None
    if arguments.json:
        document = {
            "machine": asdict(ruler.machine), "ratio": truth, "regrades": len(regrades),
            "noise": asdict(baseline.noise), "rows": [asdict(row) for row in rows],
            "block_ratios": [[math.exp(b.log_ratio) for b in blocks] for blocks in regrades],
            "disturbed": [[b.disturbed for b in blocks] for blocks in regrades],
        }  # fmt: skip
        json.dump(document, sys.stdout, indent=2)
        return
    disturbed = sum(bool(block.disturbed) for blocks in regrades for block in blocks)
    total = sum(map(len, regrades))
    print(f"ratio {truth:.3f}, guard band {100 * baseline.noise.guard_band:.1f} %")
    print(f"{len(regrades)} regrades, {disturbed} of {total} blocks disturbed")
    middles = [math.exp(median(block.log_ratio for block in blocks)) for blocks in regrades]
    print(f"the regrades' own ratios reach from {min(middles):.3f} to {max(middles):.3f}")
    titles = f"{'passed':>8}{'partial':>9}{'open':>6}{'points of 10':>14}{'blocks':>8}"
    print(f"{'threshold / ratio':>18}{titles}")
    for row in rows:
        points = f"{row.lowest_points:.1f} to {row.highest_points:.1f}"
        print(
            f"{row.place:>18.2f}{row.passed:>8}{row.partial:>9}{row.not_graded:>6}{points:>14}"
            f"{row.mean_blocks:>8.1f}"
        )


def _regrades(
    ruler: Ruler, baseline: Baseline, model: Path, count: int
) -> Iterator[tuple[Block, ...]]:
    start = time.monotonic()
    for number in range(count):
        blocks = range(SCHEDULE[-1] + SPARE)
        yield tuple(ruler.time(baseline.artefact.path, model, block) for block in blocks)
        spent = time.monotonic() - start
        left = spent / (number + 1) * (count - number - 1)
        print(f"{number + 1} of {count} regrades, {left / 60:.0f} min left", file=sys.stderr)


def _row(place: float, truth: float, regrades: Sequence[Sequence[Block]]) -> Row:
    full = place * truth
    threshold = Threshold("speedup", full, full / 2, "x", 10, "for this bench")
    timings = [_replayed(blocks, threshold) for blocks in regrades]
    points = [_points(timing, threshold) for timing in timings]
    graded = [each for each in points if each is not None]
    full_marks = sum(each == threshold.points for each in graded)
    return Row(
        place,
        passed=full_marks,
        partial=len(graded) - full_marks,
        not_graded=len(points) - len(graded),
        lowest_points=min(graded, default=0.0),
        highest_points=max(graded, default=0.0),
        mean_blocks=float(np.mean([len(timing.kept) for timing in timings])),
    )


def _replayed(blocks: Sequence[Block], threshold: Threshold) -> Timing:
    def take(number: int) -> Block:
        if number >= len(blocks):
            raise NoMoreBlocks
        return blocks[number]

    return collect(take, lambda interval: threshold.resolves(interval.low, interval.high))


def _points(timing: Timing, threshold: Threshold) -> float | None:
    """As room 7 gives them; None where it leaves the check open."""
    if len(timing.usable) < SCHEDULE[0]:
        return None
    measurement = Measurement("speedup", speedup(timing.usable))
    lab = replace(LAB_3_1, thresholds=(threshold,))
    submission = Submission("", lab.folder, Path("/"), (), (), "", "")
    machine_ = Machine("", "", (), 1, 0, {}, (), ())
    evidence = Evidence(submission, (), {}, (), None, (measurement,), machine_, "", "", "")
    return decide(lab, evidence).checks[0].points


def _int8(ruler: Ruler, folder: Path) -> Path:
    """The model of lab 3.1's solution, in canonical form."""
    fp32 = folder / "exported.onnx"
    images = data.batch(data.cifar10("validation").select(range(64))).images
    (edges,) = export.activations(fp32, images, chunk=64)
    spans = {n: (min(0.0, v.min().item()), max(0.0, v.max().item())) for n, v in edges.items()}
    raw = export.int8_static(fp32, spans, folder / "int8.onnx").read_bytes()
    (folder / "candidate").mkdir()
    found = artefact.load(raw, ruler.wanted, folder / "candidate", ruler.sandbox)
    assert isinstance(found, Artefact), found
    return found.path


@contextmanager
def _competing_load() -> Iterator[None]:
    """A process that keeps one core busy, wherever the system puts it."""
    hog = subprocess.Popen(["sha256sum", "/dev/zero"])  # which never ends
    try:
        yield
    finally:
        hog.kill()
        hog.wait()


if __name__ == "__main__":
    main()
