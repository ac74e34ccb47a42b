"""Room 8: everything that is known of a graded submission, as JSON lines, one field each.

Verdict and report are made from what is read back from this file, so a grade can be made again,
with other thresholds, without running anything.
"""

import json
from dataclasses import fields
from pathlib import Path

from pydantic import TypeAdapter

from autograder.files import write_whole
from autograder.records import Evidence

_ADAPTER = TypeAdapter(Evidence)


def write(evidence: Evidence, path: Path) -> None:
    document = _ADAPTER.dump_python(evidence, mode="json")
    lines = [json.dumps({name: document[name]}, allow_nan=False) for name in document]
    write_whole("\n".join(lines) + "\n", path)


def read(path: Path) -> Evidence:
    """Raises ValueError if the file is torn, or not evidence of this version's form."""
    return parse(path.read_text(encoding="utf-8"), str(path))


def parse(text: str, path: str) -> Evidence:
    """Evidence from its lines. Raises ValueError as `read` does, naming the path."""
    document: dict[str, object] = {}
    for line in text.splitlines():
        part = json.loads(line)
        if not isinstance(part, dict):
            raise ValueError(f"{path} holds a {type(part).__name__}, expected one object per line")
        document |= part
    missing = [field.name for field in fields(Evidence) if field.name not in document]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    return _ADAPTER.validate_python(document)
