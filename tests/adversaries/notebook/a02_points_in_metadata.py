"""Writes points and scores into the notebook's metadata.

Source: nbgrader keeps points in cell metadata; grader.md A2
Expected: nothing for the exercise: metadata is not read.
"""

FAILS = ("test-mean",)

import json
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    path = folder / "01-Exercises.ipynb"
    document = json.loads(path.read_text())
    document["metadata"]["score"] = 100
    for cell in document["cells"]:
        cell["metadata"].setdefault("nbgrader", {"grade_id": cell["id"]})
        cell["metadata"]["nbgrader"].update(points=100, grade=False, locked=False, score=100)
    path.write_text(json.dumps(document))
    return folder


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0
