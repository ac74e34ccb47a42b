"""Hands in JSON that is no notebook, nested a hundred thousand deep.

Source: grader.md E3, E5
Expected: nothing, and a finding.
"""

FAILS = ("test-scale", "test-mean", "test-shout", "test-ranks")
SAYS = "could not be read"

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    (folder / "01-Exercises.ipynb").write_text("[" * 100_000 + "]" * 100_000)
    return folder
