"""Weight-only codes as a file: every product with a constant weight becomes a MatMulNBits.

The operator reads packed codes, a step for each group of a row, and packed zero points, exactly as
packed_weight.py stores them: no code is computed a second time.

    y = x W^T      W[o, k] = scale[o, k / g] (code[o, k] - zero[o, k / g])

accuracy_level says what x may be rounded to: 1 keeps float32, and the file computes the numbers of
`round_weights`; 4 lets the kernel round x to int8 per group, which is where its speed comes from.

Source    ONNX Runtime, docs/ContribOperators.md, com.microsoft.MatMulNBits.
Left out  Embeddings (GatherBlockQuantized) and convolutions, which stay in float; 3 bits, which
          ONNX Runtime 1.32 refuses; groups that do not divide a row, which the operator pads.
Read      packed_weight.py first.
"""

from typing import Literal

from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from reference.quantization.onnx_graph import LinearNode, Piece, constants, linear_node, rebuilt
from reference.quantization.packed_weight import PackedWeight, WeightOnlyConfig, pack_weight

BITS = (2, 4, 8)
GROUP_SIZES = (16, 32, 64, 128, 256)
DOMAIN = "com.microsoft"


def quantize_onnx_weights(
    model: ModelProto,
    config: WeightOnlyConfig = WeightOnlyConfig(),
    accuracy_level: Literal[1, 4] = 4,
) -> ModelProto:
    """The model with packed weights. The float model is not modified.

    Raises:
        ValueError: bits or a granularity that the operator does not take, no linear layer, or a
            weight whose rows the groups do not divide.
    """
    if config.bits not in BITS or config.granularity not in GROUP_SIZES:
        raise ValueError(
            f"MatMulNBits takes {BITS} bits in groups of {GROUP_SIZES}, "
            f"got {config.bits} bits in {config.granularity!r}"
        )
    floats = constants(model)
    pieces = [_piece(node, floats, config, accuracy_level) for node in model.graph.node]
    if not any(node.domain == DOMAIN for piece in pieces for node in piece.nodes):
        raise ValueError("the graph has no product with a constant weight")
    return rebuilt(model, pieces, [(DOMAIN, 1)])


def _piece(
    node: NodeProto, floats: dict[str, TensorProto], config: WeightOnlyConfig, level: int
) -> Piece:
    linear = linear_node(node, floats)
    if linear is None:
        return Piece([node], [])
    return _packed(linear, pack_weight(linear.weight, config), level)


def _packed(linear: LinearNode, packed: PackedWeight, level: int) -> Piece:
    d_out, groups = packed.scale.shape
    stored = {
        "codes": packed.codes.reshape(d_out, groups, -1).numpy(),
        "scales": packed.scale.float().numpy(),
    }
    if packed.zero_points is not None:
        stored["zero_points"] = packed.zero_points.numpy()
    tensors = [numpy_helper.from_array(x, f"{linear.name}_{key}") for key, x in stored.items()]
    product = helper.make_node(
        "MatMulNBits",
        [linear.x, *(tensor.name for tensor in tensors)],
        [linear.output if linear.bias is None else f"{linear.output}_product"],
        domain=DOMAIN,
        K=packed.d_in,
        N=d_out,
        bits=packed.bits,
        block_size=packed.d_in // groups,
        accuracy_level=level,
    )
    if linear.bias is None:
        return Piece([product], tensors)
    total = helper.make_node("Add", [product.output[0], linear.bias], [linear.output])
    return Piece([product, total], tensors)
