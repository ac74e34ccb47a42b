"""Names its folder so that its evidence would land elsewhere.

Source: nbgrader issues 978 and 1097; grader.md E4
Expected: refused.
"""

REFUSED = "cannot be a student's name"

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    renamed = target / "..evidence"
    folder.rename(renamed)
    return renamed
