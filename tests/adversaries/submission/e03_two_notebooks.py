"""Hands in a second notebook of the same name in a folder, with other answers.

Source: otter, more than one .ipynb; grader.md E3
Expected: the one at the root counts.
"""

FAILS = ("test-mean",)

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    nested = folder / "better"
    nested.mkdir()
    document = json.loads((folder / "01-Exercises.ipynb").read_text())
    for cell in document["cells"]:
        if cell["id"] == "mean":
            cell["source"] = "def mean(values):\n    return sum(values) / len(values)"
    (nested / "01-Exercises.ipynb").write_text(json.dumps(document))
    return folder


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0
