"""Hands in a named pipe, which blocks whoever opens it.

Source: sandbox.md attack 13; grader.md E3
Expected: nothing, and a finding; nobody waits.
"""

FAILS = ("test-scale", "test-mean", "test-shout", "test-ranks")
SAYS = "link or a special file"

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    (folder / "01-Exercises.ipynb").unlink()
    os.mkfifo(folder / "01-Exercises.ipynb")
    return folder
