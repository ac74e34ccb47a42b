"""Does a verdict on speed come out the same again? `python -m bench.verdict_stability [--json]`.

One INT8 model of lab 3.1 is regraded many times while another process keeps a core busy. All blocks
of the whole schedule are timed in every regrade and the schedule is replayed on them for several
thresholds, placed relative to the ratio that all blocks together say: far below it (a clear
submission), at it (a borderline one), beyond it. Outside of the guard band no verdict may differ.
"""

import argparse
import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from autograder import artefact, machine, sandbox
from autograder.baseline import Baseline, measure_baseline
from autograder.lab import Threshold
from autograder.latency import SCHEDULE, Block, speedup
from autograder.records import Artefact
from autograder.ruler import Ruler
from autograder.schedule import NoMoreBlocks, Timing, collect
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
        }  # fmt: skip
        json.dump(document, sys.stdout, indent=2)
        return
    disturbed = sum(bool(block.disturbed) for blocks in regrades for block in blocks)
    total = sum(map(len, regrades))
    print(f"ratio {truth:.3f}, guard band {100 * baseline.noise.guard_band:.1f} %")
    print(f"{len(regrades)} regrades, {disturbed} of {total} blocks disturbed")
    print(f"{'threshold / ratio':>18}{'passed':>8}{'partial':>9}{'open':>6}{'blocks':>8}")
    for row in rows:
        print(
            f"{row.place:>18.2f}{row.passed:>8}{row.partial:>9}{row.not_graded:>6}"
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
    outcomes = Counter(_outcome(timing, threshold) for timing in timings)
    blocks = float(np.mean([len(timing.kept) for timing in timings]))
    return Row(place, outcomes["passed"], outcomes["partial"], outcomes["open"], blocks)


def _replayed(blocks: Sequence[Block], threshold: Threshold) -> Timing:
    def take(number: int) -> Block:
        if number >= len(blocks):
            raise NoMoreBlocks
        return blocks[number]

    return collect(take, lambda interval: threshold.resolves(interval.low, interval.high))


def _outcome(timing: Timing, threshold: Threshold) -> str:
    if len(timing.usable) < SCHEDULE[0]:
        return "open"
    interval = speedup(timing.usable)
    if not threshold.resolves(interval.low, interval.high):
        return "open"
    return "passed" if interval.low >= threshold.full else "partial"


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
    hog = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    hog.start()
    try:
        yield
    finally:
        hog.terminate()


def _spin() -> None:
    matrix = np.ones((256, 256), np.float32)
    while True:
        matrix @ matrix


if __name__ == "__main__":
    main()
