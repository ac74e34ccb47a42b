"""One zip of what the grader reads, and a receipt that its student can keep.

The receipt says what was packed and when, by the student's own clock: it proves nothing. What
counts is the time at which the course receives the zip, with its seal (collecting/receipts.py).
"""

import hashlib
import zipfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autograder import folders
from autograder.lab import Lab
from autograder.offered import Offered, within_limits
from autograder.records import Finding

SUFFIXES = (".ipynb", ".py", ".onnx", ".safetensors", ".json", ".md", ".txt", ".csv", ".png")


class CannotPack(Exception):
    """There is nothing to hand in. The message says what is missing."""


@dataclass(frozen=True)
class Packed:
    path: Path
    sha256: str  # of the zip
    size_bytes: int
    files: tuple[str, ...]
    at: str  # ISO 8601, UTC
    warnings: tuple[Finding, ...]  # what is missing, or was left out


def pack(lab: Lab, folder: Path, out: Path) -> Packed:
    """Write `out` from the lab's folder. Links are not followed, caches and data are left out.

    Args:
        out: a zip, which is replaced if it is there.

    Raises:
        CannotPack: the folder holds none of the lab's notebooks.
    """
    notebooks = [f"{name}.ipynb" for name in lab.notebooks]
    try:
        source = folders.Folder(folder, set(notebooks))
    except folders.NotAFolder as problem:
        raise CannotPack(f"{folder} is {problem}") from problem
    with closing(source):
        offered, findings = source.offered()
        wanted = [each for each in offered if _is_wanted(each, out, folder)]
        accepted, refused = within_limits(wanted, lab)
        names = {each.path for each in accepted}
        if not names & set(notebooks):
            raise CannotPack(
                f"{folder.absolute()} holds none of {', '.join(notebooks)}; start `course submit` "
                "in the lab's folder, or name the folder"
            )
        _write(accepted, source, out)
    warnings = [*findings, *refused, *_missing(names, lab, notebooks)]
    return Packed(
        path=out,
        sha256=hashlib.sha256(out.read_bytes()).hexdigest(),
        size_bytes=out.stat().st_size,
        files=tuple(sorted(names)),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        warnings=tuple(warnings),
    )


def _is_wanted(item: Offered, out: Path, folder: Path) -> bool:
    if (folder / item.path).absolute() == out.absolute():
        return False
    return item.path.endswith(SUFFIXES) and not item.path.startswith(".")


def _write(accepted: list[Offered], source: folders.Folder, out: Path) -> None:
    partial = out.with_name(f".{out.name}.partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for item in sorted(accepted, key=lambda each: each.path):
            with archive.open(item.path, "w") as sink:
                for part in source.read(item):
                    sink.write(part)
    partial.replace(out)


def _missing(names: set[str], lab: Lab, notebooks: list[str]) -> list[Finding]:
    found = [
        Finding(name, "It is not in the folder, so nothing of it will be graded.")
        for name in notebooks
        if name not in names
    ]
    if lab.artefact is None or f"submission/{lab.artefact.file}" in names:
        return found
    message = (
        f"There is no submission/{lab.artefact.file}. That is fine if the last notebook writes it "
        "with labkit.submit when it runs from the top: the grader runs it."
    )
    return [*found, Finding(lab.artefact.file, message)]
