"""The test cells were deleted; the functions are right.

Source: nbgrader issue 92; grader.md A2
Expected: all points: tests are put back from the original.
"""

SAYS = "put back from the original"

import json
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    path = folder / "01-Exercises.ipynb"
    document = json.loads(path.read_text())
    document["cells"] = [c for c in document["cells"] if not c["id"].startswith("test-")]
    path.write_text(json.dumps(document))
    return folder
