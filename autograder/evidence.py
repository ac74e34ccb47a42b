"""Room 8: everything that is known of a graded submission, as JSON lines, one field each.

Verdict and report are made from what is read back from this file, so a grade can be made again,
with other thresholds, without running anything.
"""

import json
from dataclasses import fields
from pathlib import Path

from pydantic import TypeAdapter

from autograder.records import Evidence

_ADAPTER = TypeAdapter(Evidence)


def write(evidence: Evidence, path: Path) -> None:
    """Whole or not at all: a run that is killed leaves no half evidence behind."""
    document = _ADAPTER.dump_python(evidence, mode="json")
    lines = [json.dumps({name: document[name]}, allow_nan=False) for name in document]
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(path)


def read(path: Path) -> Evidence:
    """Raises ValueError if the file is not evidence of this version's form."""
    document: dict[str, object] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        document |= json.loads(line)
    missing = [field.name for field in fields(Evidence) if field.name not in document]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    return _ADAPTER.validate_python(document)
