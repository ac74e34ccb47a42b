"""A student's notebook file, read for its cells alone.

Outputs, attachments and widgets are cut out before the JSON is parsed: they are most of a large
file, nothing of them is graded, and parsed they would take some thirty times their bytes.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_BYTES = 8 * 1024**2  # without outputs; 500 full cells of prose and code are 2 MB
MAX_TOKENS = 4_000_000  # strings and brackets; a second's work
MAX_CELLS = 500
MAX_CELL_CHARACTERS = 100_000
_CUT = {b"outputs": b"[]", b"attachments": b"{}", b"widgets": b"{}"}

# A string that the file ends in is one string. Otherwise each quote in it would begin a search
# to the end of the file, and a file of quotes take the square of its length.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_KEY = rb'"(' + b"|".join(_CUT) + rb')"\s*+:\s*+(?=[\[{])'
_TOKEN = re.compile(_KEY + b"|" + _STRING + rb"|[\[\]{}]", re.DOTALL)


class NotANotebook(Exception):
    """The file cannot be read. The message continues `NAME ...`."""


@dataclass(frozen=True)
class StudentCell:
    id: str  # nbgrader's if there is one: editors keep metadata where they renew cell ids
    kind: str  # "code", "markdown" or another
    text: str
    too_long: int = 0  # characters, where they are more than may be; the text is then cut


@dataclass(frozen=True)
class Contents:
    cells: tuple[StudentCell, ...]
    left_out: int  # cells beyond MAX_CELLS


def read(path: Path) -> Contents:
    """Raises NotANotebook; nothing else, whatever the file holds."""
    kept = b"".join(_without_outputs(path.read_bytes()))
    if len(kept) > MAX_BYTES:
        raise NotANotebook(
            f"has {len(kept):,} bytes without its outputs; at most {MAX_BYTES:,} are read. Keep "
            "data in files of their own, and load it"
        )
    try:
        document = json.loads(kept.decode("utf-8-sig"))
        if document["nbformat"] != 4:
            raise NotANotebook(
                f"is of nbformat {str(document['nbformat'])[:20]}; expected 4, which JupyterLab "
                "saves"
            )
        cells = list(document["cells"])
        found = tuple(_cell(cell) for cell in cells[:MAX_CELLS])
    except NotANotebook:
        raise
    except Exception as error:  # a hostile or damaged file may break any of the steps
        raise NotANotebook(
            f"could not be read as a Jupyter notebook ({type(error).__name__}: {str(error)[:200]})"
        ) from error
    return Contents(found, len(cells) - len(found))


def _without_outputs(raw: bytes) -> Iterator[bytes]:
    """The file's bytes, with an empty list or object for what is not looked at."""
    kept_to = depth = 0
    for count, token in enumerate(_TOKEN.finditer(raw)):
        if count == MAX_TOKENS:
            raise NotANotebook(
                f"holds more than {MAX_TOKENS:,} strings and lists; clear its outputs (Edit, Clear "
                "Outputs of All Cells) and save it"
            )
        if depth == 0 and token[1]:
            yield raw[kept_to : token.end()]
            yield _CUT[token[1]]
            kept_to, depth = len(raw), -1  # whatever does not close is cut to the end
        elif depth and token[0] in (b"[", b"{"):
            depth = 1 if depth < 0 else depth + 1
        elif depth and token[0] in (b"]", b"}"):
            depth -= 1
            if depth == 0:
                kept_to = token.end()
    yield raw[kept_to:]


def _cell(cell: Any) -> StudentCell:
    source = cell.get("source", "")
    text = _plain(source if isinstance(source, str) else "".join(source))
    excess = len(text) if len(text) > MAX_CELL_CHARACTERS else 0
    return StudentCell(_id(cell), str(cell.get("cell_type")), text[:MAX_CELL_CHARACTERS], excess)


def _id(cell: dict[str, Any]) -> str:
    metadata = cell.get("metadata")
    marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = marks.get("grade_id") if isinstance(marks, dict) else None
    return str(grade_id or cell.get("id", ""))


def _plain(text: str) -> str:
    """Without half surrogate pairs, which JSON can hold and no file can."""
    return text.encode("utf-8", "replace").decode("utf-8")
