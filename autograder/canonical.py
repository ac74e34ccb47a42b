"""A model written again in our own form, and the ledger of its bytes.

The canonical form keeps what inference needs and nothing else: tensors, nodes and attributes
under names of ours. Names, comments, metadata, shape annotations and their order carry no byte
that a student could use, and the size of this file is the size that is graded. Tensors that no
node reads are kept, and paid for. The model must have passed labkit.onnx_rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from autograder.roles import Roles
from labkit import onnx_rules

NAME_CHARACTERS = 200  # of a tensor's name in the ledger


@dataclass(frozen=True)
class Line:
    """One tensor of the ledger."""

    name: str  # as its author called it
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int
    role: str  # roles.py
    elements: int
    zeros: int


def canonicalise(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The same computation under names of ours, with everything removed that does not compute.

    Returns:
        The model, and by each name of ours the one that the model's author gave.
    """
    names = _Names()
    graph = onnx.GraphProto(name="g")
    graph.input.extend(_bare_value(value) for value in true_inputs(model.graph))
    graph.output.extend(_bare_value(value) for value in model.graph.output)
    for value in (*graph.input, *graph.output):
        names.keep(value.name)
    for tensor in model.graph.initializer:
        graph.initializer.append(_bare_tensor(tensor, names.of(tensor.name)))
    for node in model.graph.node:
        graph.node.append(_bare_node(node, names))
    canonical = onnx.helper.make_model(
        graph, opset_imports=_used_opsets(model), ir_version=model.ir_version
    )
    return canonical, {ours: theirs for theirs, ours in names.given.items()}


def true_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Old exporters list initialisers among the inputs."""
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def ledger(canonical: onnx.ModelProto, names: Mapping[str, str]) -> list[Line]:
    """What each tensor of a canonical model takes of its file, and what it is for."""
    roles = Roles(canonical.graph)
    return [
        Line(
            (names.get(tensor.name, "") or "constant")[:NAME_CHARACTERS],
            tuple(tensor.dims),
            onnx_rules.type_name(tensor),
            len(tensor.raw_data),
            roles.of(tensor),
            roles.elements(tensor),
            roles.zeros(tensor),
        )
        for tensor in onnx_rules.tensors(canonical.graph)
    ]


@dataclass
class _Names:
    """Short names in the order of first use. Only the inputs and outputs keep theirs."""

    def __post_init__(self) -> None:
        self.given: dict[str, str] = {"": ""}  # an empty name is an input left out

    def keep(self, name: str) -> None:
        self.given[name] = name

    def of(self, name: str) -> str:
        return self.given.setdefault(name, f"t{len(self.given)}")


def _used_opsets(model: onnx.ModelProto) -> list[onnx.OperatorSetIdProto]:
    used = {"", "ai.onnx", *(node.domain for node in model.graph.node)}
    return [
        onnx.helper.make_opsetid(opset.domain, opset.version)
        for opset in model.opset_import
        if opset.domain in used
    ]


def _bare_value(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    return onnx.ValueInfoProto(name=value.name, type=value.type)


def _bare_node(node: onnx.NodeProto, names: _Names) -> onnx.NodeProto:
    bare = onnx.NodeProto(op_type=node.op_type, domain=node.domain)
    bare.input.extend(names.of(name) for name in node.input)
    bare.output.extend(names.of(name) for name in node.output)
    bare.attribute.extend(_bare_attribute(a) for a in sorted(node.attribute, key=lambda a: a.name))
    return bare


def _bare_attribute(attribute: onnx.AttributeProto) -> onnx.AttributeProto:
    """The value that the attribute's type points at, and no other that may stand beside it."""
    bare = onnx.AttributeProto(name=attribute.name, type=attribute.type)
    if attribute.type == attribute.TENSOR:
        bare.t.CopyFrom(_bare_tensor(attribute.t, ""))
    elif attribute.type == attribute.TENSORS:
        bare.tensors.extend(_bare_tensor(tensor, "") for tensor in attribute.tensors)
    else:
        field = onnx_rules.ATTRIBUTE_FIELDS[attribute.type]
        value = getattr(attribute, field)
        if field.endswith("s") and field != "s":
            getattr(bare, field).extend(value)
        else:
            setattr(bare, field, value)
    return bare


def _bare_tensor(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    """All types as raw bytes: the same numbers may also be stored in wider fields."""
    return numpy_helper.from_array(numpy_helper.to_array(tensor), name)
