"""Brings sitecustomize, usercustomize, conftest, labkit and torch of its own along.

Source: otter; grader.md E3, A6
Expected: nothing for the wrong exercise: only the notebook is run.
"""

FAILS = ("test-mean",)

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    for name in ("sitecustomize.py", "usercustomize.py", "conftest.py", "torch.py", "labkit.py"):
        (folder / name).write_text("raise SystemExit(0)")
    return folder


# %% 01-Exercises/mean
def mean(values: list[float]) -> float:
    return 0.0
