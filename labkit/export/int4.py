"""ONNX with 4-bit weights: ONNX Runtime's operator MatMulNBits, one scale per group of inputs.

accuracy_level 4 lets the kernel round activations to INT8, one scale per token and group, and
multiply integers; that is where its speed comes from (ONNX Runtime, ContribOperators.md,
com.microsoft.MatMulNBits).
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    DefaultWeightOnlyQuantizer,
    MatMulNBitsQuantizer,
)
from onnxruntime.quantization.onnx_model import ONNXModel
from torch import nn

from labkit.export import graph
from labkit.export.fp32 import to_onnx
from labkit.export.packed import PackedLinear, dequantised

ACCURACY_LEVEL = 4
GROUP_SIZES = (16, 32, 64, 128, 256)  # what the operator takes
Packed = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]


def int4_weight_only(
    path: Path | str,
    out: Path | str,
    group_size: int = 32,
    symmetric: bool = True,
    embeddings: bool = False,
) -> Path:
    """Round the weights of linear layers to 4 bits; convolutions stay in FP32.

    Where the inputs do not divide into groups the operator pads the last one with zeros. An output
    layer that shares the embedding's weights follows the embedding.

    Args:
        path: an FP32 model written by `to_onnx`.
        embeddings: round embeddings to 4 bits as well (com.microsoft.GatherBlockQuantized); a
            shared output layer then has codes of its own.

    Raises:
        ValueError: a group size that the operator does not take, or no linear layer in the model.
    """
    if group_size not in GROUP_SIZES:
        raise ValueError(f"group_size is {group_size}; MatMulNBits takes {GROUP_SIZES}")
    model = _with_matmuls(onnx.load(str(path)))
    if embeddings:
        model = graph.untied(model)
    kinds = ("MatMul", "Gather") if embeddings else ("MatMul",)
    config = DefaultWeightOnlyQuantConfig(
        group_size, symmetric, ACCURACY_LEVEL, op_types_to_quantize=kinds
    )
    return _written(model, DefaultWeightOnlyQuantizer(config), out)


def int4_packed(model: nn.Module, layers: Mapping[str, PackedLinear], out: Path | str) -> Path:
    """Write the model with the given codes, such as GPTQ's or AWQ's; other layers stay in FP32.

    Raises:
        ValueError: no layers, layers of several kinds of grid, or one that the model has not.
    """
    size, symmetric = one_grid(layers)
    with tempfile.TemporaryDirectory() as folder:
        path = to_onnx(dequantised(model, layers), Path(folder) / "dequantised.onnx")
        exported = _with_matmuls(onnx.load(str(path)))
    quantizer = _GivenCodes(DefaultWeightOnlyQuantConfig(size, symmetric, ACCURACY_LEVEL), layers)
    written = _written(exported, quantizer, out)
    if quantizer.missing:
        raise ValueError(f"the graph has no product with the weight of {quantizer.missing[0]!r}")
    return written


def one_grid(layers: Mapping[str, PackedLinear]) -> tuple[int, bool]:
    """The group size of all layers, and whether they are symmetric.

    Raises:
        ValueError: there are none, or they differ.
    """
    kinds = {(layer.group_size, layer.symmetric) for layer in layers.values()}
    if not kinds:
        raise ValueError(
            "there are no layers; round_linears finds nn.Linear whose inputs divide into groups, "
            "and the layers of GPT-2 are Conv1D"
        )
    if len(kinds) > 1:
        raise ValueError(f"the layers mix (group size, symmetric) {sorted(kinds)}; use one of them")
    return kinds.pop()


class _GivenCodes(DefaultWeightOnlyQuantizer):  # type: ignore[misc]  # onnxruntime has no types
    """Knows a layer by the weight that its codes stand for, and leaves other layers alone."""

    def __init__(
        self, config: DefaultWeightOnlyQuantConfig, layers: Mapping[str, PackedLinear]
    ) -> None:
        super().__init__(config)
        self.layers = {_key(layer.weight().numpy().T): layer for layer in layers.values()}
        self.names = {_key(layer.weight().numpy().T): name for name, layer in layers.items()}
        self.found: set[bytes] = set()

    @property
    def missing(self) -> list[str]:
        """The layers whose weight the graph has not shown."""
        return [name for key, name in self.names.items() if key not in self.found]

    def quantize(
        self, node: onnx.NodeProto, graph_stack: list[onnx.GraphProto]
    ) -> list[onnx.NodeProto]:
        known = {tensor.name: tensor for tensor in graph_stack[-1].initializer}
        weight = known.get(node.input[1])
        if weight is None or _key(graph.array(weight)) not in self.layers:
            return [node]
        return super().quantize(node, graph_stack)

    def qbits_block_quant(self, fp32weight: NDArray[np.float32]) -> Packed:
        key = _key(fp32weight)
        self.found.add(key)
        layer = self.layers[key]
        d_out, d_in = layer.codes.shape
        codes = (layer.codes.numpy() + 8).astype(np.uint8)
        zeros = np.full((d_out, d_in // layer.group_size), 8, np.uint8)
        if layer.zero_points is not None:
            zeros = (layer.zero_points.numpy() + 8).astype(np.uint8)
        packed = _in_pairs(codes).reshape(d_out, -1, layer.group_size // 2)
        return packed, layer.scales.float().numpy(), _in_pairs(zeros)


def _in_pairs(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two codes to a byte along each row, the first in the lower half."""
    codes = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    return np.bitwise_or(codes[:, 0::2], codes[:, 1::2] << 4, dtype=np.uint8)


def _key(weight: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(weight.T).tobytes()


def _with_matmuls(model: onnx.ModelProto) -> onnx.ModelProto:
    """Gemm, which two-dimensional inputs meet, as the MatMul and Add that can be quantized."""
    wrapped = ONNXModel(model)
    wrapped.replace_gemm_with_matmul()
    return wrapped.model


def _written(
    model: onnx.ModelProto, quantizer: DefaultWeightOnlyQuantizer, out: Path | str
) -> Path:
    process = MatMulNBitsQuantizer(model, algo_config=quantizer.config)
    process.node_quantizer = quantizer
    with graph.quiet():
        process.process()
    if not any(node.op_type == "MatMulNBits" for node in process.model.model.graph.node):
        raise ValueError("the model has no linear layer whose weight could be rounded to 4 bits")
    process.model.save_model_to_file(str(out))
    return Path(out)
