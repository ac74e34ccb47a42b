"""Packs a gigabyte of zeros into a small zip.

Source: sandbox.md attack 15; grader.md D6, E3
Expected: the notebook is graded, the bomb is set aside.
"""

SAYS = "times its size"

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    path = target / f"{folder.name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "01-Exercises.ipynb", "01-Exercises.ipynb")
        with archive.open("zeros.bin", "w", force_zip64=True) as file:
            for _ in range(128):
                file.write(bytes(8 * 1024 * 1024))
    return path
