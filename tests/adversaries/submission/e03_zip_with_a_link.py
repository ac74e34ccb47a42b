"""Packs a symbolic link into the zip.

Source: otter's extractall; grader.md E3
Expected: nothing: links are not unpacked.
"""

FAILS = ("test-scale", "test-mean", "test-shout", "test-ranks")
SAYS = "link or a special file"

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    path = target / f"{folder.name}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("01-Exercises.ipynb")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, str(folder / "01-Exercises.ipynb"))
    return path
