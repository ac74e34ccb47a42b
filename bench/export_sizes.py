"""What a model takes on disk in each format of labkit.export: `python -m bench.export_sizes`.

Sizes depend on shapes and on which weights are zero, and are the same on every machine. The table
is the one of docs/export.md.
"""

import copy
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from labkit import baselines, export
from labkit.models import LlamaSpec, build


class Source(NamedTuple):
    model: nn.Module
    fp32: Path  # the model in ONNX


Writer = Callable[[Source, Path], Path]


class Row(NamedTuple):
    format: str
    resnet: int | None  # bytes; None where the format holds nothing of the model
    llama: int | None


def main() -> None:
    print(f"| {'format':<44} | {'resnet_cifar10':>16} | {'Llama, 2.2 M':>16} |")
    found = rows()
    for row in found:
        cells = (_cell(row.resnet, found[0].resnet), _cell(row.llama, found[0].llama))
        print(f"| {row.format:<44} | {cells[0]:>16} | {cells[1]:>16} |")


def rows() -> list[Row]:
    logging.disable(logging.WARNING)
    columns = [_sizes(model) for model in (baselines.load("resnet_cifar10"), small_llama())]
    return [Row(name, *(column[name] for column in columns)) for name in WRITERS]


def small_llama() -> nn.Module:
    """The course's Llama with random weights; trained ones take the same room."""
    torch.manual_seed(0)
    model = build(LlamaSpec())
    for parameter in model.parameters():  # equal norms would be stored once
        if parameter.dim() == 1:
            nn.init.normal_(parameter)
    return model


def _sizes(model: nn.Module) -> dict[str, int | None]:
    with tempfile.TemporaryDirectory() as folder:
        fp32 = export.to_onnx(model, Path(folder) / "fp32.onnx")
        return {
            name: _bytes(write, Source(model, fp32), Path(folder) / str(number))
            for number, (name, write) in enumerate(WRITERS.items())
        }


def _bytes(write: Writer, source: Source, out: Path) -> int | None:
    try:
        written = write(source, out)
    except ValueError:
        return None
    return (written / "model.safetensors" if written.is_dir() else written).stat().st_size


def _cell(size: int | None, fp32: int | None) -> str:
    return "-" if size is None or fp32 is None else f"{size:,} ({fp32 / size:.2f}x)"


def _int8_static(source: Source, out: Path) -> Path:
    example = next(iter(export.signature_of(source.model).example(4, 16).values()))
    edges = next(export.activations(source.fp32, example))
    ranges = {name: (value.min().item(), value.max().item()) for name, value in edges.items()}
    return export.int8_static(source.fp32, ranges, out)


def _int4(group_size: int, embeddings: bool) -> Writer:
    return lambda source, out: export.int4_weight_only(
        source.fp32, out, group_size, embeddings=embeddings
    )


def _packed(source: Source, out: Path) -> Path:
    return export.save_packed_int4(source.model, out, export.round_linears(source.model))


def _sparse(zeros: float) -> Writer:
    return lambda source, out: export.save_sparse_bitmask(_pruned(source.model, zeros), out)


def _pruned(model: nn.Module, share: float) -> nn.Module:
    """The smallest weights of every layer set to zero, by magnitude."""
    model = copy.deepcopy(model)
    for weight in (p.data for p in model.parameters() if p.dim() > 1):
        weight[weight.abs() <= weight.abs().flatten().kthvalue(int(share * weight.numel()))[0]] = 0
    return model


WRITERS: dict[str, Writer] = {
    "ONNX FP32": lambda source, _: source.fp32,
    "ONNX INT8 static": _int8_static,
    "ONNX INT8 dynamic": lambda source, out: export.int8_dynamic(source.fp32, out),
    "ONNX INT4, groups of 32": _int4(32, embeddings=False),
    "ONNX INT4, groups of 128": _int4(128, embeddings=False),
    "ONNX INT4, groups of 32, embeddings too": _int4(32, embeddings=True),
    "safetensors pack-quantized, groups of 32": _packed,
    "safetensors sparse-bitmask, 50 % zeros": _sparse(0.5),
    "safetensors sparse-bitmask, 90 % zeros": _sparse(0.9),
}

if __name__ == "__main__":
    main()
