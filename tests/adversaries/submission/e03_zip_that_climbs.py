"""Packs names that leave the folder, to overwrite the grader's files.

Source: Zip Slip; grader.md E3
Expected: the notebook is graded, the climbing names are set aside.
"""

SAYS = "leaves its folder"

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    path = target / f"{folder.name}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "01-Exercises.ipynb", "01-Exercises.ipynb")
        archive.writestr("../../evidence/student.jsonl", "{}")
        archive.writestr("/etc/cron.d/owned", "x")
    return path
