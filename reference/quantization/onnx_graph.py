"""Rewriting ONNX graphs: what the three exports share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor


class Piece(NamedTuple):
    """A stretch of the new graph."""

    nodes: list[NodeProto]
    initializers: list[TensorProto]


class LinearNode(NamedTuple):
    """A product with a constant weight: a MatMul, or a Gemm with its bias."""

    x: str
    weight: Float[Tensor, "d_out d_in"]
    bias: str | None
    output: str
    name: str  # of the weight


def constants(model: ModelProto) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def output_axis(node: NodeProto) -> int:
    """The axis of the weight that counts output channels."""
    return 0 if node.op_type == "Conv" or _attribute(node, "transB", 0) else 1


def linear_node(node: NodeProto, floats: Mapping[str, TensorProto]) -> LinearNode | None:
    """The node as a linear layer; None for any other, or one whose weight is not constant."""
    if node.op_type not in ("Gemm", "MatMul") or node.input[1] not in floats:
        return None
    if _attribute(node, "transA", 0) or {_attribute(node, k, 1.0) for k in ("alpha", "beta")} != {
        1
    }:
        return None
    weight = torch.from_numpy(numpy_helper.to_array(floats[node.input[1]]).copy())
    if weight.ndim != 2:
        return None
    bias = node.input[2] if len(node.input) > 2 else None
    rows = weight if output_axis(node) == 0 else weight.T
    return LinearNode(node.input[0], rows, bias, node.output[0], node.input[1])


def rebuilt(
    model: ModelProto, pieces: Sequence[Piece], extra_opsets: Iterable[tuple[str, int]] = ()
) -> ModelProto:
    """The pieces as a model with the inputs and outputs of `model`, without what nothing reads."""
    nodes = [node for piece in pieces for node in piece.nodes]
    read = {name for node in nodes for name in node.input}
    new = {each.name: each for piece in pieces for each in piece.initializers}
    kept = [each for each in model.graph.initializer if each.name in read and each.name not in new]
    graph = helper.make_graph(
        nodes, model.graph.name, model.graph.input, model.graph.output, [*kept, *new.values()]
    )
    opsets = {each.domain: each.version for each in model.opset_import} | dict(extra_opsets)
    imports = [helper.make_opsetid(*each) for each in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=model.ir_version)


def _attribute(node: NodeProto, name: str, default: int | float) -> int | float:
    for each in node.attribute:
        if each.name == name:
            return helper.get_attribute_value(each)
    return default
