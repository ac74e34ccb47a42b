"""Hands in a link to a classmate's notebook.

Source: otter's extractall; grader.md E3, D6
Expected: nothing: links are not followed.
"""

FAILS = ("test-scale", "test-mean", "test-shout", "test-ranks")
SAYS = "link or a special file"

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    other = target / "classmate.ipynb"
    other.write_bytes((folder / "01-Exercises.ipynb").read_bytes())
    (folder / "01-Exercises.ipynb").unlink()
    (folder / "01-Exercises.ipynb").symlink_to(other)
    return folder
