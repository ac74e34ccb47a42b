"""Hands in ten thousand files.

Source: grader.md E5
Expected: the notebook is graded, the rest is set aside.
"""

SAYS = "no more are read"

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    for number in range(3000):
        (folder / f"z{number:05}").write_text("x")
    return folder
