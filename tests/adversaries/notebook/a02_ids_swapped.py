"""Gives the wrong function's cell the id of a right one, and the grade_id of another.

Source: nbgrader issues 6 and 92; grader.md A2
Expected: nothing for the exercise that has no answer.
"""

FAILS = ("test-mean",)

import json
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    path = folder / "01-Exercises.ipynb"
    document = json.loads(path.read_text())
    for cell in document["cells"]:
        if cell["id"] == "mean":
            cell["id"] = "test-mean"
            cell["metadata"]["nbgrader"] = {"grade_id": "test-mean", "points": 99}
    path.write_text(json.dumps(document))
    return folder


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0
