"""Dynamic INT8 as a file: inputs are measured and rounded by the graph itself, call by call.

    x            -> DynamicQuantizeLinear -> codes, s_x, z_x               uint8, one grid per call
    codes, W     -> MatMulInteger -> sums                                  int8 weights, int32 sums
    sums         -> Cast -> * (s_x s_w) -> + b                             one s_w per output

ONNX Runtime fuses the five nodes into one kernel. Nothing is calibrated, so any graph with linear
layers can be rewritten; convolutions stay in float.

Source    onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html; the layout that ONNX Runtime's
          quantize_dynamic writes.
Differs   Weights have one step per output, where quantize_dynamic has one per tensor by default.
Left out  One grid per token, for which the operator has no place.
Read      dynamic.py first: the same codes and sums.
"""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from reference.quantization.affine import channel_range, quantize, symmetric_grid
from reference.quantization.onnx_graph import LinearNode, Piece, constants, linear_node, rebuilt


def quantize_onnx_dynamic(model: ModelProto) -> ModelProto:
    """The model with dynamic linear layers. The float model is not modified.

    Raises:
        ValueError: no product with a constant weight, or a weight that is not finite.
    """
    floats = constants(model)
    pieces = [_piece(node, floats) for node in model.graph.node]
    if not any(node.op_type == "MatMulInteger" for piece in pieces for node in piece.nodes):
        raise ValueError("the graph has no product with a constant weight")
    return rebuilt(model, pieces)


def _piece(node: NodeProto, floats: dict[str, TensorProto]) -> Piece:
    linear = linear_node(node, floats)
    return Piece([node], []) if linear is None else _dynamic(linear)


def _dynamic(linear: LinearNode) -> Piece:
    grid = symmetric_grid(channel_range(linear.weight))
    codes = quantize(linear.weight, grid).numpy().astype(np.int8).T
    weight = numpy_helper.from_array(np.ascontiguousarray(codes), f"{linear.name}_codes")
    steps = numpy_helper.from_array(grid.scale.flatten().numpy(), f"{linear.name}_scale")
    x, scale, zero, sums, wide, factor, product = (
        f"{linear.output}_{part}"
        for part in ("codes", "scale", "zero_point", "sums", "wide", "factor", "product")
    )
    scaled = linear.output if linear.bias is None else product
    nodes = [
        helper.make_node("DynamicQuantizeLinear", [linear.x], [x, scale, zero]),
        helper.make_node("MatMulInteger", [x, weight.name, zero], [sums]),
        helper.make_node("Cast", [sums], [wide], to=TensorProto.FLOAT),
        helper.make_node("Mul", [scale, steps.name], [factor]),
        helper.make_node("Mul", [wide, factor], [scaled]),
    ]
    if linear.bias is not None:
        nodes.append(helper.make_node("Add", [product, linear.bias], [linear.output]))
    return Piece(nodes, [weight, steps])
