"""The baseline of a class run on one machine: measured by the first job, read by the others.

A job is a fresh process, and measuring the baseline takes longer than most submissions do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from pydantic import TypeAdapter
from safetensors.torch import load, save

from autograder.baseline import Baseline
from autograder.files import write_whole
from autograder.latency import NoiseCertificate
from autograder.operations import Operations
from autograder.records import Artefact


@dataclass(frozen=True)
class _Kept:
    """A baseline without its tensors."""

    artefact: Artefact
    parameters: int
    operations: Operations
    noise: NoiseCertificate | None


_KEPT = TypeAdapter(_Kept)


def baseline(measure: Callable[[], Baseline | None], folder: Path) -> Baseline | None:
    """What another job of the same run has measured on this machine, or what `measure` says.

    Args:
        folder: of the run, closed to other users; the files of the baseline lie in it too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "baseline.lock"):
        if (folder / "baseline.json").is_file():
            return _read(folder)
        found = measure()
        if found is not None:
            _write(found, folder)
        return found


def _write(found: Baseline, folder: Path) -> None:
    tensors = {"scores": found.scores.contiguous(), "shifted": found.shifted.contiguous()}
    (folder / "baseline.safetensors").write_bytes(save(tensors))
    told = _Kept(found.artefact, found.parameters, found.operations, found.noise)
    write_whole(_KEPT.dump_json(told).decode(), folder / "baseline.json")  # last: now it is there


def _read(folder: Path) -> Baseline:
    told = _KEPT.validate_json((folder / "baseline.json").read_bytes())
    tensors = load((folder / "baseline.safetensors").read_bytes())
    return Baseline(
        artefact=told.artefact,
        parameters=told.parameters,
        scores=tensors["scores"],
        shifted=tensors["shifted"],
        operations=told.operations,
        noise=told.noise,
    )
