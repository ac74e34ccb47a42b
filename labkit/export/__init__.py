"""From a trained network to a file that others serve: ONNX in FP32, INT8 and INT4, and safetensors
in the compressed-tensors layout. docs/export.md shows each with its bytes and its readers.
"""

from labkit.export.checkpoint import load_compressed, save_packed_int4, save_sparse_bitmask
from labkit.export.fp32 import to_onnx
from labkit.export.int4 import int4_packed, int4_weight_only
from labkit.export.int8 import QUANTIZED_OPERATORS, Range, activations, int8_dynamic, int8_static
from labkit.export.packed import PackedLinear, dequantised, round_linears, round_to_grid
from labkit.export.runtime import predict, token_losses
from labkit.export.signature import (
    InputSpec,
    Signature,
    images,
    signature_of,
    texts,
    tokens,
)
from labkit.onnx_session import INPUT, OUTPUT, session

__all__ = [
    "INPUT", "OUTPUT", "QUANTIZED_OPERATORS", "InputSpec", "PackedLinear", "Range", "Signature",
    "activations", "dequantised", "images", "int4_packed", "int4_weight_only", "int8_dynamic",
    "int8_static", "load_compressed", "predict", "round_linears", "round_to_grid",
    "save_packed_int4", "save_sparse_bitmask", "session", "signature_of", "texts", "to_onnx",
    "token_losses", "tokens",
]  # fmt: skip
