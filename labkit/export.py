"""From a trained network to a file that ONNX Runtime serves: FP32, static INT8, dynamic INT8."""

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from jaxtyping import Float
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_dynamic
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from torch import Tensor

from labkit.models import Mlp, ResNet

INPUT = "images"
OUTPUT = "logits"
OPSET = 20
QUANTIZED_OPERATORS = ["Conv", "Gemm", "MatMul", "Add", "Relu", "ReduceMean", "GlobalAveragePool"]

Range = tuple[float, float]  # the lowest and the highest value that the grid must reach


def to_onnx(model: ResNet | Mlp, path: Path | str) -> Path:
    """Write the model in FP32, with the input `images` and the output `logits`, any batch size."""
    model = model.eval()
    example = torch.zeros(2, *_input_shape(model))
    batch = torch.export.Dim("batch", min=1)
    with _quiet():
        program = torch.onnx.export(
            model,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: batch},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    onnx.save(_stripped(program.model_proto), str(path))
    return Path(path)


def session(path: Path | str, threads: int = 1) -> ort.InferenceSession:
    """ONNX Runtime on the CPU with a fixed number of threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def predict(
    path: Path | str, images: Float[Tensor, "count ..."], chunk: int = 250
) -> Float[Tensor, "count classes"]:
    """The answers of an ONNX model, computed `chunk` images at a time."""
    model = session(path, threads=torch.get_num_threads())
    answers = [model.run([OUTPUT], {INPUT: part.numpy()})[0] for part in images.split(chunk)]
    return torch.from_numpy(np.concatenate(answers))


def activations(
    path: Path | str, images: Float[Tensor, "count ..."], chunk: int = 64
) -> Iterator[dict[str, Tensor]]:
    """What flows along every edge of an FP32 model, `chunk` images at a time.

    The keys are the names of the edges in the ONNX graph, the input among them. A calibrator
    turns them into the ranges that `int8_static` wants.
    """
    model = onnx.load(str(path))
    names = _edges(model)
    graph_outputs = {output.name for output in model.graph.output}
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name not in graph_outputs
    )
    runtime = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for part in images.split(chunk):
        values = runtime.run(names, {INPUT: part.numpy()})
        edges = {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}
        yield {INPUT: part, **edges}


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
    checked = {name: _checked_range(name, ranges) for name in [INPUT, *_edges(model)]}
    # The quantizer asks for every edge by name, also for those that it leaves in FP32.
    quantizer = QDQQuantizer(
        model,
        per_channel=per_channel,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, checked),
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=QUANTIZED_OPERATORS,
        extra_options={},
    )
    with _quiet():
        quantizer.quantize_model()
    quantizer.model.save_model_to_file(str(out))
    return Path(out)


def int8_dynamic(path: Path | str, out: Path | str) -> Path:
    """Quantize the weights of linear layers to INT8; activations get their range at run time."""
    with _quiet():
        quantize_dynamic(str(path), str(out), weight_type=QuantType.QInt8, per_channel=True)
    return Path(out)


def _stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the exporter's notes on where each node and edge comes from."""
    model.graph.ClearField("value_info")
    for part in (model, model.graph, *model.graph.node, *model.graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def _input_shape(model: ResNet | Mlp) -> tuple[int, ...]:
    if isinstance(model, ResNet):
        return (model.spec.in_channels, 32, 32)
    return (model.spec.in_features,)


def _edges(model: onnx.ModelProto) -> list[str]:
    """The names of the activations that static quantization puts on a grid."""
    return [
        name
        for node in model.graph.node
        if node.op_type in QUANTIZED_OPERATORS
        for name in node.output
    ]


def _checked_range(name: str, ranges: Mapping[str, Range]) -> TensorData:
    if name not in ranges:
        raise ValueError(f"there is no range for the edge {name!r}; every edge needs one")
    low, high = (float(bound) for bound in ranges[name])
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"the range of {name!r} is ({low}, {high}); low <= high must be finite")
    return TensorData(lowest=np.float32(low), highest=np.float32(high))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what exporters say about absent torchvision and the like to themselves."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
