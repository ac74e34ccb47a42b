"""ONNX in INT8: static, with ranges from calibration, and dynamic, with ranges at run time.

In a network with attention only what multiplies by a weight is quantized, and only its inputs. The
products of activations in attention hold no byte to save, and a grid of 255 steps over [0, 1] is
coarse for probabilities; sums and norms stay in FP32 with the residual stream that they carry. In
the other networks sums and ReLUs are on the grid too, so that integers flow from one convolution
to the next.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_dynamic
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from torch import Tensor

from labkit.export import graph
from labkit.export.runtime import Inputs, feed, pieces

QUANTIZED_OPERATORS = ["Conv", "Gemm", "MatMul", "Add", "Relu", "ReduceMean", "GlobalAveragePool"]
WEIGHTED_OPERATORS = ["Conv", "Gemm", "MatMul"]

Range = tuple[float, float]  # the lowest and the highest value that the grid must reach


def activations(path: Path | str, inputs: Inputs, chunk: int = 64) -> Iterator[dict[str, Tensor]]:
    """What flows along the edges of an FP32 model that get a grid, `chunk` rows at a time.

    The keys are the names of the edges in the ONNX graph, an image input among them. A calibrator
    turns them into the ranges that `int8_static` wants.
    """
    model = onnx.load(str(path))
    names = _plan(model).edges
    graph_inputs = {value.name for value in model.graph.input}
    inner = [name for name in names if name not in graph_inputs]
    graph_outputs = {output.name for output in model.graph.output}
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in inner if name not in graph_outputs
    )
    runtime = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for part in pieces(inputs, chunk):
        fed = feed(runtime, part)
        values = {**fed, **dict(zip(inner, runtime.run(inner, fed), strict=True))}
        yield {name: torch.from_numpy(values[name]) for name in names}


def int8_static(
    path: Path | str, ranges: Mapping[str, Range], out: Path | str, per_channel: bool = True
) -> Path:
    """Quantize weights to INT8 and activations to UINT8, on the grids that the ranges span.

    Args:
        path: an FP32 model written by `to_onnx`.
        ranges: for every edge that `activations` yields, its lowest and highest value.
        per_channel: one weight scale per output channel; otherwise one per tensor.

    Raises:
        ValueError: a range is missing, is not finite, or is upside down.
    """
    model = onnx.load(str(path))
    plan = _plan(model)
    checked = {name: _checked_range(name, ranges) for name in plan.edges}
    # The quantizer asks for every edge by name, also for those that it leaves in FP32.
    quantizer = QDQQuantizer(
        model,
        per_channel=per_channel,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, checked),
        nodes_to_quantize=plan.nodes,
        nodes_to_exclude=[],
        op_types_to_quantize=QUANTIZED_OPERATORS,
        extra_options=plan.options,
    )
    with graph.quiet():
        quantizer.quantize_model()
    quantizer.model.save_model_to_file(str(out))
    return Path(out)


def int8_dynamic(path: Path | str, out: Path | str) -> Path:
    """Quantize weights to INT8; activations get their range at run time.

    Linear layers and convolutions have one scale per output channel, embeddings one per table. An
    output layer that shares the embedding's weights gets its own copy of one byte per weight.
    """
    model = graph.untied(onnx.load(str(path)))
    with graph.quiet():
        quantize_dynamic(model, str(out), weight_type=QuantType.QInt8, per_channel=True)
    return Path(out)


class _Plan(NamedTuple):
    nodes: list[str]  # the nodes that are quantized
    edges: list[str]  # the activations that need a range
    options: dict[str, Any]  # for ONNX Runtime's quantizer


def _plan(model: onnx.ModelProto) -> _Plan:
    nodes = model.graph.node
    if any(node.op_type == "Softmax" for node in nodes):
        weights = graph.weights(model)
        chosen = [n for n in nodes if n.op_type in WEIGHTED_OPERATORS and n.input[1] in weights]
        edges = [node.input[0] for node in chosen]
        options = {"OpTypesToExcludeOutputQuantization": WEIGHTED_OPERATORS}
    else:
        chosen = [node for node in nodes if node.op_type in QUANTIZED_OPERATORS]
        edges = [value.name for value in model.graph.input]
        edges += [name for node in chosen for name in node.output]
        options = {}
    return _Plan([node.name for node in chosen], list(dict.fromkeys(edges)), options)


def _checked_range(name: str, ranges: Mapping[str, Range]) -> TensorData:
    if name not in ranges:
        raise ValueError(f"there is no range for the edge {name!r}; every edge needs one")
    low, high = (float(bound) for bound in ranges[name])
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"the range of {name!r} is ({low}, {high}); low <= high must be finite")
    return TensorData(lowest=np.float32(low), highest=np.float32(high))
