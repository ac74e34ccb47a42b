"""`make demo`: sample submissions of a lab, and what became of them."""

import json
import shutil
from pathlib import Path

from autograder import samples
from autograder.classrun import ClassResult
from autograder.files import alone_in
from autograder.lab import Lab
from autograder.samples import SampleError


def hand_in(lab: Lab, source: Path, release: Path, sample_folder: Path, out: Path) -> Path:
    """A folder with one submission per sample of the lab. What an earlier demo left is removed."""
    found = samples.read_all(sample_folder / lab.folder)
    if not found:
        raise SampleError(f"there are no samples of {lab.folder} in {sample_folder}")
    with alone_in(out):
        for folder in ("submissions", "evidence"):  # what a demo writes: `out` may be any folder
            shutil.rmtree(out / folder, ignore_errors=True)
        for sample in found:
            samples.write(sample, source / lab.folder, release / lab.folder, out / "submissions")
    return out / "submissions"


def write_summary(result: ClassResult, path: Path) -> None:
    """`{"<name>": {"points": p, "of": q, "checks": {...}}}`, for a machine to read."""
    summary = {
        item.student: {
            "points": round(item.verdict.points, 2),
            "of": item.verdict.of,
            "by_hand": sum(cell.points for cell in item.verdict.by_hand),
            "checks": {
                check.name: {
                    "outcome": check.outcome.value,
                    "points": check.points,
                    "of": check.of,
                    "note": check.note,
                }
                for check in item.verdict.checks
            },
        }
        for item in result.graded
    }
    path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
