"""What a stored tensor is for, told by the nodes that read it. For the ledger, not for points."""

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from labkit import onnx_rules

_CODES = {0: "codes", 1: "scale", 2: "zero point"}
_FLOAT = {1: "weight", 2: "bias"}
_NORM = {1: "norm", 2: "norm", 3: "norm", 4: "norm"}
_QLINEAR = {
    1: "scale", 2: "zero point", 3: "codes", 4: "scale", 5: "zero point", 6: "scale",
    7: "zero point", 8: "bias",
}  # fmt: skip
# By operator, what stands at which input; what is not listed is "other".
READERS: dict[str, dict[int, str]] = {
    "BatchNormalization": _NORM,
    "Conv": _FLOAT,
    "ConvInteger": {1: "codes", 2: "zero point", 3: "zero point"},
    "ConvTranspose": _FLOAT,
    "DequantizeLinear": _CODES,
    "Gather": {0: "embedding"},
    "Gemm": _FLOAT,
    "LayerNormalization": _NORM,
    "MatMul": {0: "weight", 1: "weight"},
    "MatMulInteger": {0: "codes", 1: "codes", 2: "zero point", 3: "zero point"},
    "QLinearConv": _QLINEAR,
    "QLinearMatMul": _QLINEAR,
    "QuantizeLinear": {0: "weight", 1: "scale", 2: "zero point"},
    "RMSNormalization": _NORM,
    "com.microsoft.DynamicQuantizeMatMul": {1: "codes", 2: "scale", 3: "zero point", 4: "bias"},
    "com.microsoft.FusedConv": _FLOAT,
    "com.microsoft.FusedMatMul": {0: "weight", 1: "weight"},
    "com.microsoft.GatherBlockQuantized": {0: "codes", 2: "scale", 3: "zero point"},
    "com.microsoft.MatMulIntegerToFloat": {
        0: "codes", 1: "codes", 2: "scale", 3: "scale", 4: "zero point", 5: "zero point", 6: "bias"
    },
    "com.microsoft.MatMulNBits": {1: "codes", 2: "scale", 3: "zero point"},
}  # fmt: skip
PASSES_ON = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
MAX_STEPS = 8  # of values that are passed on before something reads them
NIBBLE_ZERO = 8  # what stands for zero among 4-bit codes from 0 to 15 without a zero point


class Roles:
    """The readers of every name in a graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.readers: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
        for node in graph.node:
            for place, name in enumerate(node.input):
                self.readers.setdefault(name, []).append((node, place))
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}

    def of(self, tensor: onnx.TensorProto) -> str:
        found = next(
            (role for node, place in self._ends(tensor.name) if (role := _role(node, place))), ""
        )
        if found == "codes" and len(tensor.dims) == 1 and onnx_rules.type_name(tensor) == "int32":
            return "bias"  # as quantized convolutions store it
        return found or "other"

    def elements(self, tensor: onnx.TensorProto) -> int:
        """Values that it stands for: a byte of packed codes holds two."""
        count = int(np.prod(tensor.dims, dtype=np.int64))
        return count * 8 // self._packed_bits(tensor) if self._packed_bits(tensor) else count

    def zeros(self, tensor: onnx.TensorProto) -> int:
        """Values of a weight that stand for zero; 0 where that cannot be said."""
        values = numpy_helper.to_array(tensor)
        if self.of(tensor) in ("weight", "bias", "norm", "embedding"):
            return int((values == 0).sum())
        if self.of(tensor) != "codes":
            return 0
        if bits := self._packed_bits(tensor):
            return _zero_nibbles(values) if bits == 4 and not self._zero_point(tensor) else 0
        return int((values.astype(np.int64) == self._zero_values(tensor, values)).sum())

    def _ends(self, name: str, steps: int = MAX_STEPS) -> Iterator[tuple[onnx.NodeProto, int]]:
        for node, place in self.readers.get(name, []):
            if node.op_type in PASSES_ON and place == 0 and steps:
                yield from self._ends(node.output[0], steps - 1)
            else:
                yield node, place

    def _packed_bits(self, tensor: onnx.TensorProto) -> int:
        for node, place in self.readers.get(tensor.name, []):
            if node.op_type == "MatMulNBits" and place == 1:
                return next((a.i for a in node.attribute if a.name == "bits"), 0)
        return 0

    def _zero_point(self, tensor: onnx.TensorProto) -> onnx.TensorProto | None:
        for node, place in self.readers.get(tensor.name, []):
            at = next(
                (
                    at
                    for at, role in READERS.get(onnx_rules.operator(node), {}).items()
                    if role == "zero point" and at > place
                ),
                0,
            )
            if at and at < len(node.input):
                return self.tensors.get(node.input[at])
        return None

    def _zero_values(
        self, tensor: onnx.TensorProto, values: NDArray[np.generic]
    ) -> NDArray[np.int64]:
        """The zero point, one for all or one per channel along the first axis that fits it."""
        stored = self._zero_point(tensor)
        zeros = np.zeros(1, np.int64)
        if stored is not None:
            zeros = numpy_helper.to_array(stored).astype(np.int64).reshape(-1)
        if len(zeros) == 1 or len(zeros) not in values.shape:
            return zeros[:1]
        axis = values.shape.index(len(zeros))
        return zeros.reshape([-1 if at == axis else 1 for at in range(values.ndim)])


def _role(node: onnx.NodeProto, place: int) -> str:
    return READERS.get(onnx_rules.operator(node), {}).get(place, "")


def _zero_nibbles(values: NDArray[np.uint8]) -> int:
    return int(((values & 15) == NIBBLE_ZERO).sum() + ((values >> 4) == NIBBLE_ZERO).sum())
