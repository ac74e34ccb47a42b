"""Hands in a folder that is a link to a classmate's.

Source: grader.md E3
Expected: refused.
"""

REFUSED = "is a link"

import json
import os
import zipfile
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    link = target / folder.name
    link.symlink_to(folder)
    return link
