"""Declares a small size for a member that unpacks to a large one.

Source: grader.md D6; sandbox.md attack 15
Expected: nothing for what the damaged member held, and the class run goes on.
"""

FAILS = ("test-scale", "test-mean", "test-shout", "test-ranks")

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    path = target / f"{folder.name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("01-Exercises.ipynb", bytes(50 * 1024 * 1024))
    content = path.read_bytes()
    path.write_bytes(
        content.replace((50 * 1024 * 1024).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    )
    return path
