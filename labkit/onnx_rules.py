"""What an ONNX model that is handed in may hold. `labkit.submit` and the grader both ask here.

It stands outside labkit.export, which imports torch: the grader asks in a fresh process for every
model. What the rules are for: a file that computes tensors from tensors, deterministically, with
nothing outside of itself, and whose size says what it costs.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

MAX_BYTES = 128 * 1024**2  # BERT of 23 million parameters in FP32 has 91 MB
MAX_NODES = 5000
MAX_TENSORS = 10_000
MAX_AXES = 16
OPSETS = range(13, 24)
OPERATORS = frozenset({
    "Abs", "Add", "And", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip",
    "Concat", "Constant", "ConstantOfShape", "Conv", "ConvInteger", "ConvTranspose", "Cos",
    "CumSum", "DequantizeLinear", "Div", "DynamicQuantizeLinear", "Einsum", "Elu", "Equal", "Erf",
    "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "Gelu", "Gemm",
    "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "GroupNormalization",
    "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization",
    "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "MatMul", "MatMulInteger", "Max",
    "MaxPool", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pad", "Pow",
    "QLinearConv", "QLinearMatMul", "QuantizeLinear", "RMSNormalization", "Range", "Reciprocal",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Resize", "Round",
    "ScatterND", "Shape", "Sigmoid", "Sign", "Sin", "Slice", "Softmax", "Softplus", "Split", "Sqrt",
    "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where",
    "com.microsoft.DynamicQuantizeMatMul", "com.microsoft.FusedConv", "com.microsoft.FusedMatMul",
    "com.microsoft.GatherBlockQuantized", "com.microsoft.MatMulIntegerToFloat",
    "com.microsoft.MatMulNBits", "com.microsoft.QGemm", "com.microsoft.QLinearAdd",
    "com.microsoft.QLinearGlobalAveragePool",
})  # fmt: skip
BITS = {
    "float": 32, "double": 64, "float16": 16, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16,
    "int32": 32, "int64": 64, "bool": 8, "int4": 4, "uint4": 4,
}  # fmt: skip  # per value as stored, by the name of the type in the ledger

_Attribute = onnx.AttributeProto
ATTRIBUTE_FIELDS: dict[int, str] = {
    _Attribute.FLOAT: "f", _Attribute.INT: "i", _Attribute.STRING: "s", _Attribute.TENSOR: "t",
    _Attribute.FLOATS: "floats", _Attribute.INTS: "ints", _Attribute.STRINGS: "strings",
    _Attribute.TENSORS: "tensors",
}  # fmt: skip  # where the value of an attribute of that type stands; other types may not be


class NotAcceptable(ValueError):
    """The model breaks a rule. The message names what, its value, and what would be right."""


def check(model: onnx.ModelProto) -> None:
    """Raises NotAcceptable if the model breaks a rule; its inputs and outputs have none here."""
    if model.functions or model.graph.sparse_initializer or model.training_info:
        raise NotAcceptable(
            "The model holds functions, sparse tensors or training graphs; none may."
        )
    _check_count("nodes", len(model.graph.node), MAX_NODES)
    _check_opsets(model)
    for node in model.graph.node:
        _check_node(node)
    _check_count("tensors", sum(1 for _ in tensors(model.graph)), MAX_TENSORS)
    for tensor in tensors(model.graph):
        _check_tensor(tensor)


def tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All that the file stores: initialisers, and the constants that nodes hold."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type in (attribute.TENSOR, attribute.TENSORS):
                yield from attribute.tensors
                yield from (attribute.t,) if attribute.type == attribute.TENSOR else ()


def operator(node: onnx.NodeProto) -> str:
    """The operator as the allow-list spells it, with its domain unless it is ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def type_name(tensor: onnx.TensorProto) -> str:
    """Such as float or uint4; `type 99` where ONNX has none of that number."""
    known = tensor.data_type in onnx.TensorProto.DataType.values()
    if not known:
        return f"type {tensor.data_type}"
    return onnx.TensorProto.DataType.Name(tensor.data_type).lower()


def _check_count(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise NotAcceptable(f"The graph has {count} {what}; at most {limit} may be.")


def _check_opsets(model: onnx.ModelProto) -> None:
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version not in OPSETS:
            raise NotAcceptable(
                f"The model is written in opset {opset.version}; expected {OPSETS[0]} to "
                f"{OPSETS[-1]}. labkit.export writes one of them; torch.onnx.export takes "
                "opset_version=20."
            )


def _check_node(node: onnx.NodeProto) -> None:
    if operator(node) not in OPERATORS:
        raise NotAcceptable(
            f"The operator {operator(node)[:100]} is not among those that may be used; ask the "
            "course staff if your technique needs it."
        )
    for attribute in node.attribute:
        if attribute.type in (attribute.GRAPH, attribute.GRAPHS) or attribute.HasField("g"):
            raise NotAcceptable(f"A node {node.op_type} holds a graph of its own; none may.")
        if attribute.type not in ATTRIBUTE_FIELDS:
            raise NotAcceptable(
                f"The attribute {attribute.name[:100]} of a node {node.op_type} has the type "
                f"{attribute.type}; expected a number, a text or a tensor, or a list of them."
            )


def _check_tensor(tensor: onnx.TensorProto) -> None:
    name = tensor.name[:100] or "a constant"
    if tensor.data_location == tensor.EXTERNAL or tensor.external_data:
        raise NotAcceptable(
            f"{name} is kept in another file, which is not handed in; the model must be one file: "
            "onnx.save(onnx.load(path), 'one.onnx')."
        )
    if type_name(tensor) not in BITS:
        raise NotAcceptable(
            f"{name} has the type {type_name(tensor)}; expected one of {', '.join(BITS)}."
        )
    values = _values(tensor, name)
    if values.dtype.kind == "f" and (np.isnan(values).any() or np.isposinf(values).any()):
        raise NotAcceptable(  # minus infinity is how masks of attention are written
            f"The tensor {name} of shape {values.shape} holds NaN or infinite values. Look "
            "for a scale of zero, or a division by a range that is empty."
        )


def _values(tensor: onnx.TensorProto, name: str) -> NDArray[Any]:
    dims = list(tensor.dims)
    if len(dims) > MAX_AXES or min(dims, default=0) < 0:
        raise NotAcceptable(
            f"{name} has {len(dims)} axes, from {dims[:4]}; at most {MAX_AXES}, none negative."
        )
    wanted = math.ceil(math.prod(dims) * BITS[type_name(tensor)] / 8)
    if tensor.raw_data and len(tensor.raw_data) != wanted:
        raise NotAcceptable(
            f"{name} of shape {dims} stores {len(tensor.raw_data)} bytes; expected {wanted}."
        )
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:  # numpy and onnx raise several types where data and shape disagree
        raise NotAcceptable(
            f"{name} does not hold the values that its shape {dims} asks for."
        ) from error
