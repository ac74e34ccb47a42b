"""ONNX Runtime's own quantizers, in this project's environment: MatMulNBits and static INT8."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    HQQWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from task import Prepared, Task, answer


def layer(task: Task) -> Prepared:
    weight = task.tensors("layer")["weight"]
    if task.method == "rtn":
        config = DefaultWeightOnlyQuantConfig(
            block_size=task.group_size, is_symmetric=False, accuracy_level=1, bits=task.bits
        )
    else:
        config = HQQWeightOnlyQuantConfig(block_size=task.group_size, bits=task.bits)
    quantizer = MatMulNBitsQuantizer(product(weight), algo_config=config)

    def result() -> dict[str, torch.Tensor]:
        session = onnxruntime.InferenceSession(
            quantizer.model.model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        unit = np.eye(weight.shape[1], dtype=np.float32)
        return {"weight": torch.from_numpy(session.run(None, {"x": unit})[0].T.copy())}

    return Prepared(quantizer.process, result)


def product(weight: torch.Tensor) -> onnx.ModelProto:
    """x W' as a graph."""
    d_out, d_in = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["tokens", d_in])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["tokens", d_out])],
        [numpy_helper.from_array(weight.T.contiguous().numpy(), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


class Images(CalibrationDataReader):
    def __init__(self, name: str, images: torch.Tensor) -> None:
        self.rest = iter([{name: batch.numpy()} for batch in images.split(100)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.rest, None)


def resnet(task: Task) -> Prepared:
    source, prepared = task.folder / "model.onnx", task.folder / "prepared.onnx"
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    images = task.tensors("images")["images"]
    name = onnx.load(source).graph.input[0].name

    def quantize() -> None:
        quantize_static(
            str(prepared),
            str(task.folder / "result.onnx"),
            Images(name, images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )

    return Prepared(quantize, lambda: {"none": torch.zeros(1)})


if __name__ == "__main__":
    answer(
        "onnxruntime",
        {("layer", "rtn"): layer, ("layer", "hqq"): layer, ("resnet", "static"): resnet},
    )
