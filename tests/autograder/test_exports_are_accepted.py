"""Whatever labkit.export writes, of every family and in every format, room 5 takes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from autograder import parse
from labkit import export
from labkit.models import (
    FAMILIES,
    BertSpec,
    EfficientNetLiteSpec,
    GptSpec,
    LlamaSpec,
    MlpSpec,
    ResNetSpec,
    Spec,
    TextTransformerSpec,
    VitSpec,
    build,
)
from labkit.text import TokenBatch

SPECS: tuple[Spec, ...] = (
    ResNetSpec(8, 1),
    ResNetSpec(8, 1, batch_norm=False),
    MlpSpec(64, (32,)),
    EfficientNetLiteSpec(classes=4),
    VitSpec(64, 1, 2, 64, classes=5),
    TextTransformerSpec(64, 32, 1, 2, 32, 16),
    BertSpec(64, 32, 1, 2, 32, 16),
    GptSpec(64, 32, 1, 2, 16),
    LlamaSpec(64, 32, 1, 4, 2, 32, 16),
)


def _takes(spec: Spec) -> export.Signature:
    """EfficientNet takes images of any size, so its spec does not say one."""
    if isinstance(spec, EfficientNetLiteSpec):
        return export.images((spec.in_channels, 64, 64), spec.classes)
    return export.signature_of(spec)


def _inputs(takes: export.Signature) -> Tensor | TokenBatch:
    given = takes.example(batch=2, tokens=8, seed=1)
    if len(given) == 2:
        return TokenBatch(*given.values(), labels=torch.zeros(2, dtype=torch.int64))
    return next(iter(given.values()))


def _static(path: Path, out: Path, inputs: Tensor | TokenBatch) -> Path:
    edges = next(export.activations(path, inputs))
    ranges = {name: (float(v.min()), float(v.max())) for name, v in edges.items()}
    return export.int8_static(path, ranges, out)


def _written(spec: Spec, folder: Path) -> dict[str, Path]:
    """One file per format that the family has."""
    model, inputs = build(spec).eval(), _inputs(_takes(spec))
    fp32 = export.to_onnx(model, folder / "fp32.onnx", _takes(spec))
    formats: dict[str, Callable[[Path], Path]] = {
        "int8_static": lambda out: _static(fp32, out, inputs),
        "int8_dynamic": lambda out: export.int8_dynamic(fp32, out),
        "int4": lambda out: export.int4_weight_only(fp32, out),
        "int4_asymmetric": lambda out: export.int4_weight_only(fp32, out, 16, symmetric=False),
        "int4_embeddings": lambda out: export.int4_weight_only(fp32, out, embeddings=True),
    }
    if isinstance(spec, EfficientNetLiteSpec):
        del formats["int8_static"]  # int8 finds no range for its ReLU6, and refuses to write it
    elif layers := export.round_linears(model):  # the layers of GPT-2 are of another class
        formats["int4_packed"] = lambda out: export.int4_packed(model, layers, out)
    return {"fp32": fp32} | {
        name: write(folder / f"{name}.onnx") for name, write in formats.items()
    }


def test_no_family_is_left_out() -> None:
    assert {type(spec) for spec in SPECS} == set(FAMILIES.values())


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_what_labkit_exports_is_accepted_and_answers_the_same(spec: Spec, tmp_path: Path) -> None:
    torch.manual_seed(0)
    takes = _takes(spec)
    request = {"file": "model.onnx", "inputs": takes.names, "outputs": ["logits"]}
    example = {name: value.numpy() for name, value in takes.example(2, 8).items()}
    for name, path in _written(spec, tmp_path).items():
        reply, payload = parse.answer(request, path.read_bytes())
        assert "refused" not in reply, (name, reply)
        assert len(payload) <= path.stat().st_size, name
        before, after = (export.session(m).run(None, example)[0] for m in (path, payload))
        assert np.array_equal(before, after), name
