"""A cell of the student's own raises, and everything else is right.

Source: control
Expected: all points, no finding.
"""

SILENT = True


import json
from pathlib import Path


def pack(folder: Path, target: Path) -> Path:
    path = folder / "01-Exercises.ipynb"
    document = json.loads(path.read_text())
    cell = {
        "cell_type": "code",
        "id": "mine",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "source": "1 / 0",
    }
    document["cells"].insert(3, cell)
    path.write_text(json.dumps(document))
    return folder
