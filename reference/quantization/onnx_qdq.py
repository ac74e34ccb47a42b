"""Static INT8 as a file: an ONNX graph with QuantizeLinear / DequantizeLinear (QDQ) pairs.

The graph still reads as floats. Each pair says "here the values lie on this grid"; a runtime that
has integer kernels sees DQ -> Conv -> Q, replaces the three by one QLinearConv, and no float is
computed between. The pairs stand where a layer, an addition or a pooling reads, after the ReLU.

    activation x      -> Q -> DQ -> Conv, Add, ...                  uint8, one grid per tensor
    weight (int8)           -> DQ -> Conv                           one step per output channel
    bias (int32)            -> DQ -> Conv                           s_b = s_x s_w

A ReLU whose output grid begins at 0 is what clipping to qmin does, so the runtime drops it.
Whatever is not fused runs in float, between conversions, and costs more than it saved. Measured on
a ResNet of width 32, 16 images, one thread with AVX512-VNNI, ONNX Runtime 1.32: all 15 convolutions
fuse and it runs 2.6 times as fast as float; with int8 activations 6 fuse, with additions left in
float 7, and either runs 0.8 times as fast.

Source    Jacob et al., CVPR 2018, arXiv:1712.05877; the layout that ONNX Runtime fuses:
          onnxruntime.ai/docs/performance/model-optimizations/quantization.html.
Differs   From onnxruntime.quantization: a grid for each tensor read, none for what only a ReLU
          reads; biases whose step is exactly s_x s_w; a weight is stored once, as int8.
Left out  QOperator format; operators that the course's CNNs do not have; folding batch norm,
          which must be done before the export.
Read      affine.py, calibration.py first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from reference.quantization.affine import (
    Grid,
    Range,
    asymmetric_grid,
    channel_range,
    quantize,
    symmetric_grid,
)
from reference.quantization.calibration import RANGE_ONLY, Calibrator, ends, min_max
from reference.quantization.integer import grid_with_room_for_bias, quantize_bias
from reference.quantization.onnx_graph import Piece, output_axis, rebuilt

WEIGHTED = ("Conv", "Gemm", "MatMul")  # weight is input 1, bias (if any) input 2
READERS = (*WEIGHTED, "Add", "ReduceMean", "GlobalAveragePool")
MIN_OPSET = 13  # the first whose DequantizeLinear has one scale per channel

DEQUANTIZED = "_dequantized"  # what a reader of `x` reads instead


def quantized_tensors(model: ModelProto) -> list[str]:
    """The activations that get a grid: all that a layer, an addition or a pooling reads."""
    constants = {tensor.name for tensor in model.graph.initializer}
    names = (name for node in model.graph.node if node.op_type in READERS for name in node.input)
    return list(dict.fromkeys(name for name in names if name and name not in constants))


def collect_ranges(
    model: ModelProto,
    batches: Sequence[Float[Tensor, "_ ..."]],
    calibrate: Calibrator = min_max,
) -> dict[str, Range]:
    """The range of each activation of `quantized_tensors`, from running the float model.

    A calibrator that looks at more than ends has all activations of all batches held in memory:
    about 2 MB for each CIFAR image and a ResNet of width 32.
    """
    names = quantized_tensors(model)
    source = model.graph.input[0].name
    session = _session_exposing(model, [name for name in names if name != source])
    seen: dict[str, list[Tensor]] = {name: [] for name in names}
    kept = ends if calibrate in RANGE_ONLY else torch.clone
    for batch in batches:
        outputs = session.run(None, {source: batch.numpy()})
        found = zip((out.name for out in session.get_outputs()), outputs, strict=True)
        for name, value in (*found, (source, batch.numpy())):
            if name in seen:
                seen[name].append(kept(torch.from_numpy(value)))
    return {name: calibrate(values) for name, values in seen.items()}


def quantize_onnx(
    model: ModelProto,
    ranges: Mapping[str, Range],
    activation_grid: Callable[[Range], Grid] = asymmetric_grid,
) -> ModelProto:
    """The INT8 model, without the exporter's annotations. The float model is not modified.

    Raises:
        ValueError: ranges are missing for a tensor, or the opset is too old for QDQ per channel.
    """
    _check(model, ranges)
    grids = {name: activation_grid(ranges[name]) for name in quantized_tensors(model)}
    floats = {tensor.name: tensor for tensor in model.graph.initializer}
    pieces = [_pair(entry.name, grids) for entry in model.graph.input if entry.name in grids]
    for node in model.graph.node:
        pieces += _layer_constants(node, floats, grids)
        pieces.append(Piece([node], []))
        pieces += [_pair(name, grids) for name in node.output if name in grids]
    return _assembled(model, pieces)


def _pair(name: str, grids: Mapping[str, Grid]) -> Piece:
    """x -> QuantizeLinear -> x_quantized -> DequantizeLinear -> x_dequantized."""
    grid = grids[name]
    code_type = np.int8 if grid.qmin < 0 else np.uint8
    constants = [
        numpy_helper.from_array(np.asarray(grid.scale, np.float32), f"{name}_scale"),
        numpy_helper.from_array(np.asarray(grid.zero_point, code_type), f"{name}_zero_point"),
    ]
    parameters = [constant.name for constant in constants]
    codes = f"{name}_quantized"
    down = helper.make_node("QuantizeLinear", [name, *parameters], [codes])
    up = helper.make_node("DequantizeLinear", [codes, *parameters], [name + DEQUANTIZED])
    return Piece([down, up], constants)


def _layer_constants(
    node: NodeProto, floats: Mapping[str, TensorProto], grids: Mapping[str, Grid]
) -> list[Piece]:
    """The weight and the bias of one layer as codes; nothing for any other node."""
    if node.op_type not in WEIGHTED or node.input[1] not in floats:
        return []
    axis = output_axis(node)
    weight = torch.from_numpy(numpy_helper.to_array(floats[node.input[1]]).copy())
    grid = symmetric_grid(channel_range(weight, axis))
    pieces = []
    if len(node.input) > 2:
        bias = torch.from_numpy(numpy_helper.to_array(floats[node.input[2]]).copy())
        input_scale = grids[node.input[0]].scale
        grid = grid_with_room_for_bias(grid, input_scale, bias)
        codes = quantize_bias(bias, input_scale, grid.scale).numpy()
        pieces.append(_dequantized_constant(node.input[2], codes, input_scale * grid.scale, 0))
    codes = quantize(weight, grid).numpy().astype(np.int8)
    return [_dequantized_constant(node.input[1], codes, grid.scale, axis), *pieces]


def _dequantized_constant(name: str, codes: np.ndarray, scale: Tensor, axis: int) -> Piece:
    """Codes under the name of the float constant they replace. The zero point is 0."""
    steps = scale.flatten().numpy().astype(np.float32)
    constants = [
        numpy_helper.from_array(codes, name),
        numpy_helper.from_array(steps, f"{name}_scale"),
        numpy_helper.from_array(np.zeros(len(steps), codes.dtype), f"{name}_zero_point"),
    ]
    inputs = [constant.name for constant in constants]
    node = helper.make_node("DequantizeLinear", inputs, [name + DEQUANTIZED], axis=axis)
    return Piece([node], constants)


def _assembled(model: ModelProto, pieces: Sequence[Piece]) -> ModelProto:
    """The pieces as a model: every reader reads what was dequantized, where there is such."""
    made = {name for piece in pieces for node in piece.nodes for name in node.output}
    return rebuilt(
        model,
        [Piece([_rewired(node, made) for node in nodes], tensors) for nodes, tensors in pieces],
    )


def _rewired(node: NodeProto, made: Iterable[str]) -> NodeProto:
    rewired = NodeProto(op_type=node.op_type, name=node.name, domain=node.domain)
    rewired.attribute.extend(node.attribute)
    rewired.output.extend(node.output)
    reads_codes = node.op_type in ("QuantizeLinear", "DequantizeLinear")
    for name in node.input:
        through = name + DEQUANTIZED
        rewired.input.append(through if through in made and not reads_codes else name)
    return rewired


def _session_exposing(model: ModelProto, names: Sequence[str]) -> onnxruntime.InferenceSession:
    """A session of the float model that returns the named tensors beside its own outputs."""
    exposed = ModelProto()
    exposed.CopyFrom(model)
    returned = {entry.name for entry in model.graph.output}
    exposed.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in names
        if name not in returned
    )
    return onnxruntime.InferenceSession(
        exposed.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def _check(model: ModelProto, ranges: Mapping[str, Range]) -> None:
    opset = next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    if opset < MIN_OPSET:
        raise ValueError(f"opset is {opset}; scales per channel need {MIN_OPSET} or later")
    missing = [name for name in quantized_tensors(model) if name not in ranges]
    if missing:
        raise ValueError(f"no range for {missing}; collect_ranges gives all that are needed")
    readers = [name for node in model.graph.node for name in _constant_inputs(node)]
    shared = sorted({name for name in readers if readers.count(name) > 1})
    if shared:
        raise ValueError(f"{shared} are read by two layers; export a copy for each")


def _constant_inputs(node: NodeProto) -> Sequence[str]:
    return node.input[1:] if node.op_type in WEIGHTED else ()
