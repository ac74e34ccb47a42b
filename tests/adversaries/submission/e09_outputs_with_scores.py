"""Leaves outputs in the notebook that look like a graded report.

Source: nbgrader issue 917; grader.md E9, A9
Expected: nothing for the wrong exercise: outputs are not read.
"""

FAILS = ("test-mean",)

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    path = folder / "01-Exercises.ipynb"
    document = json.loads(path.read_text())
    for cell in document["cells"]:
        if cell["cell_type"] == "code":
            text = {"output_type": "stream", "name": "stdout", "text": "passed, 100 of 100 points"}
            cell["outputs"] = [text]
    path.write_text(json.dumps(document))
    return folder


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0
