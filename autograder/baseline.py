"""What every artefact of a class run is compared with, measured once."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from autograder import probes
from autograder.artefact import load
from autograder.latency import NoiseCertificate, certificate
from autograder.operations import Operations
from autograder.records import Artefact
from autograder.ruler import Ruler
from autograder.schedule import certify
from autograder.timing_lock import exclusive_timing
from labkit import baselines, export
from labkit.export.checkpoint import stored_tensors


@dataclass(frozen=True)
class Baseline:
    artefact: Artefact
    parameters: int
    scores: torch.Tensor  # of the hidden examples, in their order: right or not, or nats (n, k)
    shifted: torch.Tensor  # the same of the first ones, shifted (probes.py)
    operations: Operations
    noise: NoiseCertificate | None  # None: the lab grades no speed


def measure_baseline(ruler: Ruler, folder: Path) -> Baseline:
    """The shipped baseline in FP32, measured like any artefact, and the machine's noise."""
    wanted, examples = ruler.wanted, ruler.examples
    model = baselines.load(wanted.baseline)
    artefact = load(_handed_in(model, ruler, folder), wanted, folder, ruler.sandbox)
    assert isinstance(artefact, Artefact), artefact
    shifted = examples.rows(slice(0, probes.SHIFTED)).shifted()
    return Baseline(
        artefact=artefact,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        scores=examples.score(ruler.predict(artefact.runs, examples)),
        shifted=shifted.score(torch.cat(ruler.run(artefact.runs, probes.batches(shifted)))),
        operations=ruler.count(artefact.runs),
        noise=_noise(artefact.runs, ruler),
    )


def _handed_in(model: nn.Module, ruler: Ruler, folder: Path) -> bytes:
    """The baseline as somebody would hand it in who compresses nothing."""
    if ruler.wanted.is_checkpoint:
        return save(stored_tensors(model))
    path = export.to_onnx(model, folder / "exported.onnx", ruler.examples.takes)
    return path.read_bytes()


def _noise(model: Path, ruler: Ruler) -> NoiseCertificate | None:
    if all(threshold.metric != "speedup" for threshold in ruler.lab.thresholds):
        return None
    with exclusive_timing():
        return certificate(certify(lambda number: ruler.time(model, model, number)))
