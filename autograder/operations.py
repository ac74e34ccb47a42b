"""What a model computes: its products, counted on the graph as ONNX Runtime runs it.

Counted in a process of its own, which has read the student's file: for the report and for the
floor below which no time is believed, not for points. MACs are multiply-accumulates, half of the
FLOPs; BOPS are MACs times the bits of both factors (Dong et al. 2019, HAWQ).
"""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from labkit import onnx_rules

CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv", "com.microsoft.FusedConv")
MATRICES = (
    "Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "com.microsoft.DynamicQuantizeMatMul",
    "com.microsoft.FusedMatMul", "com.microsoft.MatMulIntegerToFloat",
    "com.microsoft.MatMulNBits", "com.microsoft.QGemm",
)  # fmt: skip
WEIGHT_AT = {"QLinearConv": 3, "QLinearMatMul": 3, "com.microsoft.QGemm": 3}  # else input 1
FLOAT_BITS = 32


@dataclass(frozen=True)
class Product:
    """One convolution or matrix product."""

    operator: str
    macs: int  # of the batch that was run
    weight_bits: int
    activation_bits: int


@dataclass(frozen=True)
class Operations:
    """What one example costs."""

    products: tuple[Product, ...]
    kernels: Mapping[str, int]  # what ONNX Runtime makes of the graph: calls by operator
    resident_bytes: int  # tensors that it holds after its own rewriting

    @property
    def macs(self) -> int:
        return sum(product.macs for product in self.products)

    @property
    def bops(self) -> int:
        return sum(p.macs * p.weight_bits * p.activation_bits for p in self.products)


def count(path: Path | str, batch: Mapping[str, NDArray[Any]]) -> Operations:
    """Run a model once on a batch of one example, and see what it did."""
    model = onnx.load(str(path), load_external_data=False)
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    with tempfile.TemporaryDirectory() as folder:
        shapes = _shapes(model, batch, Path(folder))
        kernels, resident_bytes = _as_it_runs(model, batch, Path(folder))
    bits = _Bits(model.graph)
    found = [
        _product(node, shapes[node.name], bits) for node in model.graph.node if node.name in shapes
    ]
    return Operations(tuple(p for p in found if p is not None), kernels, resident_bytes)


def _product(node: onnx.NodeProto, shapes: "_Shapes", bits: "_Bits") -> Product | None:
    operator = onnx_rules.operator(node)
    at = WEIGHT_AT.get(operator, 1)
    if operator in CONVOLUTIONS:
        weight = shapes.inputs[at]
        macs = math.prod(shapes.output) * math.prod(weight[1:])
    elif operator in MATRICES:
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        macs = math.prod(shapes.output) * shapes.inputs[0][0 if transposed else -1]
    else:
        return None
    if operator == "com.microsoft.MatMulNBits":
        stored = next(a.i for a in node.attribute if a.name == "bits")
        return Product(operator, macs, stored, bits.of(node.input[0]))
    return Product(operator, macs, bits.of(node.input[at]), bits.of(node.input[0]))


@dataclass(frozen=True)
class _Shapes:
    inputs: Sequence[Sequence[int]]
    output: Sequence[int]


def _shapes(
    model: onnx.ModelProto, batch: Mapping[str, NDArray[Any]], folder: Path
) -> dict[str, _Shapes]:
    """Of every node, in the graph as it was handed in."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")  # else weights have none
    shapes = {}
    for event in _profiled(model, batch, options, folder):
        arguments = event["args"]
        inputs = [_only(shape) for shape in arguments["input_type_shape"]]
        if outputs := [_only(shape) for shape in arguments["output_type_shape"]]:
            name = event["name"].removesuffix("_kernel_time")
            shapes[name] = _Shapes(inputs, outputs[0])
    return shapes


def _as_it_runs(
    model: onnx.ModelProto, batch: Mapping[str, NDArray[Any]], folder: Path
) -> tuple[dict[str, int], int]:
    """Kernels by operator, and the bytes of the tensors that the rewritten graph holds."""
    rewritten = folder / "rewritten.onnx"
    options = ort.SessionOptions()
    # What is done for a layout is not written to a file; products and types are settled here.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(rewritten)
    kernels: dict[str, int] = {}
    for event in _profiled(model, batch, options, folder):
        operator = event["args"]["op_name"]
        kernels[operator] = kernels.get(operator, 0) + 1
    graph = onnx.load(str(rewritten), load_external_data=False).graph
    held = sum(
        math.ceil(math.prod(tensor.dims) * onnx_rules.BITS.get(onnx_rules.type_name(tensor), 0) / 8)
        for tensor in onnx_rules.tensors(graph)
    )
    return kernels, held


def _profiled(
    model: onnx.ModelProto,
    batch: Mapping[str, NDArray[Any]],
    options: ort.SessionOptions,
    folder: Path,
) -> list[dict[str, Any]]:
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    session.run(None, dict(batch))
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return [event for event in events if event.get("cat") == "Node" and "op_name" in event["args"]]


def _only(shape: Mapping[str, Sequence[int]]) -> Sequence[int]:
    """ONNX Runtime writes {type: shape}, with one type."""
    return next(iter(shape.values()))


class _Bits:
    """Of every name in a graph: how many bits its values carry into a product."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.stored = {
            tensor.name: onnx_rules.BITS.get(onnx_rules.type_name(tensor), FLOAT_BITS)
            for tensor in graph.initializer
        }
        self.made_by = {name: node for node in graph.node for name in node.output}

    def of(self, name: str) -> int:
        if name in self.stored:
            return self.stored[name]
        node = self.made_by.get(name)
        if node is None:
            return FLOAT_BITS
        if node.op_type == "DequantizeLinear":
            return self.of(node.input[0])
        if node.op_type == "QuantizeLinear":  # without a zero point its answer is uint8
            return self.stored.get(node.input[2], 8) if len(node.input) > 2 else 8
        if node.op_type == "DynamicQuantizeLinear":
            return 8
        return FLOAT_BITS
