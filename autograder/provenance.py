"""What a grade was made with, as hashes: code, hidden examples, baseline, secret of the class."""

import hashlib
from functools import cache
from pathlib import Path

import autograder
import labkit
from autograder.baseline import Baseline
from autograder.examples import Examples
from autograder.records import Provenance


def provenance(secret: bytes, examples: Examples | None, baseline: Baseline | None) -> Provenance:
    """Args:
    examples: that were graded on; None for a lab of exercises alone, as the baseline.
    """
    return Provenance(
        code=code_digest(),
        hidden_data=examples_digest(examples) if examples else "",
        baseline=file_digest(baseline.artefact.path) if baseline else "",
        secret=hashlib.sha256(secret).hexdigest(),
    )


@cache
def code_digest() -> str:
    """Over every source file of the grader and of labkit, by its place and its bytes."""
    digest = hashlib.sha256()
    for package in (autograder, labkit):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            place = f"{package.__name__}/{path.relative_to(root).as_posix()}"
            digest.update(f"{place}\0{file_digest(path)}\n".encode())
    return digest.hexdigest()


def examples_digest(examples: Examples) -> str:
    """Over inputs and labels in the order in which they are graded."""
    digest = hashlib.sha256()
    parts = [*examples.inputs.items()]
    if examples.labels is not None:
        parts.append(("labels", examples.labels))
    for name, values in parts:
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}\n".encode())
        digest.update(values.contiguous().numpy().data)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
