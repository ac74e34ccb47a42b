"""Names a program `.zip`.

Source: grader.md E3
Expected: refused, with what would be right.
"""

REFUSED = "not a zip file"

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    path = target / f"{folder.name}.zip"
    path.write_bytes(b"MZ" + bytes(1000))
    return path
