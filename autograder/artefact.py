"""Room 5: the model that was handed in, parsed without trust and written again in our own form.

The canonical form keeps what inference needs and nothing else: tensors, nodes and attributes
under names of ours. Names, comments, metadata, shape annotations and their order carry no byte
that a student could use, and the size of this file is the size that is graded. Tensors that no
node reads are kept, and paid for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from autograder import lab as demands
from autograder.records import Artefact, Finding, TensorBytes

MAX_NODES = 5000
MAX_TENSORS = 10_000
OPSETS = range(13, 24)
OPERATORS = frozenset({
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "Conv",
    "ConvInteger", "DequantizeLinear", "Div", "DynamicQuantizeLinear", "Erf", "Flatten",
    "Gather", "Gelu", "Gemm", "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity",
    "LayerNormalization", "MatMul", "MatMulInteger", "MaxPool", "Mul", "Neg", "Pad", "Pow",
    "QLinearConv", "QLinearMatMul", "QuantizeLinear", "ReduceMean", "ReduceSum", "Relu",
    "Reshape", "Shape", "Sigmoid", "Slice", "Softmax", "Sqrt", "Squeeze", "Sub", "Tanh",
    "Transpose", "Unsqueeze", "com.microsoft.DynamicQuantizeMatMul", "com.microsoft.FusedConv",
    "com.microsoft.FusedMatMul", "com.microsoft.MatMulIntegerToFloat",
    "com.microsoft.MatMulNBits", "com.microsoft.QGemm", "com.microsoft.QLinearAdd",
    "com.microsoft.QLinearGlobalAveragePool",
})  # fmt: skip


class NotAcceptable(Exception):
    """The model breaks a rule of the artefact. The message is fit for the student."""


def load(raw: bytes | None, wanted: demands.Artefact, folder: Path) -> Artefact | Finding:
    """The artefact in canonical form, written to the folder; or why it is none."""
    if raw is None:
        message = (
            f"No {wanted.file} was handed in: the last notebook must run to its end and call "
            "labkit.submit. Its artefact checks earn nothing until it does."
        )
        return Finding(wanted.file, message)
    try:
        model = _parse(raw, wanted)
        canonical, names = canonicalise(model)
        payload = canonical.SerializeToString(deterministic=True)
        if len(payload) > wanted.max_bytes:
            raise NotAcceptable(f"The model has {len(payload)} bytes; at most {wanted.max_bytes}.")
    except NotAcceptable as problem:
        return Finding(wanted.file, str(problem))
    except Exception as error:  # protobuf and numpy raise whatever a forged file provokes
        return Finding(wanted.file, f"The model could not be read: {type(error).__name__}: {error}")
    path = folder / wanted.file
    path.write_bytes(payload)
    return _described(canonical, names, path)


def _described(canonical: onnx.ModelProto, names: Mapping[str, str], path: Path) -> Artefact:
    """The size ledger, in which tensors have the names that their author gave them."""
    ledger = tuple(_entry(tensor, names) for tensor in _tensors(canonical.graph))
    size = path.stat().st_size
    return Artefact(
        path=path,
        size_bytes=size,
        ledger=ledger,
        graph_bytes=size - sum(line.size_bytes for line in ledger),
        operators=tuple(sorted({_operator(node) for node in canonical.graph.node})),
    )


def canonicalise(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The same computation under names of ours, with everything removed that does not compute.

    Returns:
        The model, and by each name of ours the one that the model's author gave.
    """
    names = _Names()
    graph = onnx.GraphProto(name="g")
    graph.input.extend(_bare_value(value) for value in _true_inputs(model.graph))
    graph.output.extend(_bare_value(value) for value in model.graph.output)
    for value in (*graph.input, *graph.output):
        names.keep(value.name)
    for tensor in model.graph.initializer:
        graph.initializer.append(
            numpy_helper.from_array(numpy_helper.to_array(tensor), names.of(tensor.name))
            if tensor.data_type in _NUMPY_TYPES
            else _renamed(tensor, names.of(tensor.name))
        )
    for node in model.graph.node:
        graph.node.append(_bare_node(node, names))
    opsets = [onnx.helper.make_opsetid(o.domain, o.version) for o in model.opset_import]
    canonical = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    return canonical, {ours: theirs for theirs, ours in names.given.items()}


@dataclass
class _Names:
    """Short names in the order of first use. Only the inputs and outputs keep theirs."""

    def __post_init__(self) -> None:
        self.given: dict[str, str] = {"": ""}  # an empty name is an input left out

    def keep(self, name: str) -> None:
        self.given[name] = name

    def of(self, name: str) -> str:
        return self.given.setdefault(name, f"t{len(self.given)}")


_NUMPY_TYPES = frozenset(
    (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16,
     onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT16,
     onnx.TensorProto.UINT16, onnx.TensorProto.INT32, onnx.TensorProto.INT64,
     onnx.TensorProto.BOOL)
)  # fmt: skip
_PACKED_BITS: dict[int, int] = {onnx.TensorProto.INT4: 4, onnx.TensorProto.UINT4: 4}


def _parse(raw: bytes, wanted: demands.Artefact) -> onnx.ModelProto:
    if len(raw) > wanted.max_bytes:
        raise NotAcceptable(f"The model has {len(raw)} bytes; at most {wanted.max_bytes} are read.")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except Exception as error:
        raise NotAcceptable(f"{wanted.file} is not an ONNX model: {error}") from error
    if not model.graph.node:
        raise NotAcceptable(f"{wanted.file} is not an ONNX model: its graph has no nodes.")
    _check_graph(model)
    _check_interface(model.graph, wanted)
    for tensor in _tensors(model.graph):
        _check_tensor(tensor)
    return model


def _check_graph(model: onnx.ModelProto) -> None:
    if model.functions or model.graph.sparse_initializer or model.training_info:
        raise NotAcceptable(
            "The model holds functions, sparse tensors or training graphs; none may."
        )
    if len(model.graph.node) > MAX_NODES:
        raise NotAcceptable(
            f"The graph has {len(model.graph.node)} nodes; at most {MAX_NODES} may be."
        )
    if len(model.graph.initializer) > MAX_TENSORS:
        count = len(model.graph.initializer)
        raise NotAcceptable(f"The graph has {count} tensors; at most {MAX_TENSORS} may be.")
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version not in OPSETS:
            raise NotAcceptable(
                f"The opset is {opset.version}; expected {OPSETS[0]} to {OPSETS[-1]}."
            )
    for node in model.graph.node:
        if _operator(node) not in OPERATORS:
            raise NotAcceptable(
                f"The operator {_operator(node)} is not among those that may be used; ask the "
                "course staff if your technique needs it."
            )
        if any(a.type in (a.GRAPH, a.GRAPHS, a.SPARSE_TENSOR) for a in node.attribute):
            raise NotAcceptable(f"A node {node.op_type} holds a graph of its own; none may.")


def _check_interface(graph: onnx.GraphProto, wanted: demands.Artefact) -> None:
    inputs = [value.name for value in _true_inputs(graph)]
    outputs = [value.name for value in graph.output]
    if inputs != [wanted.input] or outputs != [wanted.output]:
        raise NotAcceptable(
            f"The model has inputs {inputs} and outputs {outputs}; expected "
            f"['{wanted.input}'] and ['{wanted.output}']. Export it with labkit.export."
        )


def _check_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_location == tensor.EXTERNAL or tensor.external_data:
        raise NotAcceptable(f"{tensor.name} is kept in another file; the model must be one file.")
    if tensor.data_type in _PACKED_BITS:
        bits = int(np.prod(tensor.dims, dtype=np.int64)) * _PACKED_BITS[tensor.data_type]
        if len(tensor.raw_data) != (bits + 7) // 8:
            raise NotAcceptable(f"{tensor.name} does not hold as many values as its shape says.")
        return
    if tensor.data_type not in _NUMPY_TYPES:
        raise NotAcceptable(f"{tensor.name} has the type {_dtype(tensor)}, which is not supported.")
    values = numpy_helper.to_array(tensor)  # raises where data and shape disagree
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise NotAcceptable(
            f"The tensor {tensor.name} of shape {values.shape} holds NaN or infinite values. Look "
            "for a scale of zero, or a division by a range that is empty."
        )


def _true_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Old exporters list initialisers among the inputs."""
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t,) if attribute.type == attribute.TENSOR else attribute.tensors


def _bare_value(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    return onnx.ValueInfoProto(name=value.name, type=value.type)


def _bare_node(node: onnx.NodeProto, names: _Names) -> onnx.NodeProto:
    bare = onnx.NodeProto(op_type=node.op_type, domain=node.domain)
    bare.input.extend(names.of(name) for name in node.input)
    bare.output.extend(names.of(name) for name in node.output)
    for attribute in sorted(node.attribute, key=lambda a: a.name):
        copy = bare.attribute.add()
        copy.CopyFrom(attribute)
        copy.doc_string = ""
        for tensor in (*copy.tensors, *((copy.t,) if copy.type == copy.TENSOR else ())):
            tensor.name = tensor.doc_string = ""
    return bare


def _renamed(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    return onnx.TensorProto(
        name=name, dims=tensor.dims, data_type=tensor.data_type, raw_data=tensor.raw_data
    )


def _entry(tensor: onnx.TensorProto, names: Mapping[str, str]) -> TensorBytes:
    name = names.get(tensor.name, "") or "constant"
    return TensorBytes(name, tuple(tensor.dims), _dtype(tensor), len(tensor.raw_data))


def _dtype(tensor: onnx.TensorProto) -> str:
    return onnx.TensorProto.DataType.Name(tensor.data_type).lower()


def _operator(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
