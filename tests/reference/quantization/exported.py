"""Torch models as ONNX, and ONNX models run."""

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import nn

NO_FUSION = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
ALL_FUSIONS = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL


def exported(model: nn.Module, x: torch.Tensor) -> onnx.ModelProto:
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.onnx.export(model, (x,), dynamo=True, dynamic_shapes=shapes, verbose=False)
    return program.model_proto


def run(
    model: onnx.ModelProto, x: torch.Tensor, level: onnxruntime.GraphOptimizationLevel = ALL_FUSIONS
) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def relative_noise(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(((actual - expected) ** 2).mean() / (expected**2).mean())


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]
