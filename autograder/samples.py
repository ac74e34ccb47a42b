"""Sample submissions: the instructor's solution, or the empty release, with some cells replaced.

A sample is one Python file under samples/LAB/. Its docstring says what its author does and why;
`# base: release` starts from the empty release instead of the solution; each replaced cell
begins with `# %% NOTEBOOK/CELL-ID`.
"""

import ast
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

CELL_LINE = "# %% "
RELEASE_LINE = "# base: release"


class SampleError(Exception):
    """A sample replaces a cell that does not exist. The message names both."""


@dataclass(frozen=True)
class Sample:
    name: str
    strategy: str  # the docstring
    from_release: bool
    cells: dict[tuple[str, str], str]  # (notebook, cell id) -> source


def read(path: Path) -> Sample:
    text = path.read_text(encoding="utf-8")
    head, *parts = text.split(f"\n{CELL_LINE}")
    cells = {}
    for part in parts:
        place, _, source = part.partition("\n")
        notebook, _, cell_id = place.strip().partition("/")
        cells[notebook, cell_id] = source.strip("\n")
    strategy = ast.get_docstring(ast.parse(head)) or ""
    return Sample(path.stem, strategy, RELEASE_LINE in head.splitlines(), cells)


def read_all(folder: Path) -> list[Sample]:
    return [read(path) for path in sorted(folder.glob("*.py"))]


def write(sample: Sample, source: Path, release: Path, target: Path) -> Path:
    """The sample as a submission folder under `target`.

    Args:
        source: the lab's folder of source notebooks.
        release: the lab's folder of released notebooks.
    """
    folder = target / sample.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    left = dict(sample.cells)
    for path in sorted((release if sample.from_release else source).glob("*.ipynb")):
        document = json.loads(path.read_text(encoding="utf-8"))
        for cell in document["cells"]:
            cell["source"] = left.pop((path.stem, cell["id"]), cell["source"])
        (folder / path.name).write_text(json.dumps(document), encoding="utf-8")
    if left:
        raise SampleError(f"{sample.name} replaces cells that do not exist: {sorted(left)}")
    return folder
