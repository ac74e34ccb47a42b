"""Tensors on the wire: one safetensors blob, and what is checked before any of it is used.

The header is read with our own eyes first. Safetensors itself makes sure that bytes, dtypes and
shapes agree and that no two tensors overlap; it does not mind a million tensors of no bytes, or
an axis of 2**40 beside one of zero, from which a sum over the other axis would make 2**40 numbers.
"""

import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from autograder.frames import WireError as WireError

MAX_HEADER_BYTES = 1024**2
MAX_TENSORS = 4096  # Llama-2-13B has 363
MAX_AXES = 16
MAX_ELEMENTS = 2**28  # of one tensor, with axes of zero counted as one
NAME_BYTES = struct.Struct("<Q")  # the length of a safetensors header


def pack(tensors: Sequence[Tensor]) -> bytes:
    """Tensors as a blob, each under its index.

    Raises:
        WireError: more tensors than may cross.
    """
    if len(tensors) > MAX_TENSORS:
        raise WireError(f"{len(tensors)} tensors; at most {MAX_TENSORS} may cross at once")
    return save({str(i): tensor for i, tensor in enumerate(tensors)}) if tensors else b""


def unpack(blob: bytes) -> dict[str, Tensor]:
    """The tensors of a blob by their keys, each of bounded shape and finite.

    Raises:
        WireError: the blob is not what `pack` writes.
    """
    if not blob:
        return {}
    _check_header(blob)
    tensors = load(blob)
    for tensor in tensors.values():
        check(tensor)
    return tensors


def check(tensor: Tensor) -> None:
    """Raises WireError unless the tensor is dense, real and finite."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        kind = "meta" if tensor.is_meta else "quantized" if tensor.is_quantized else tensor.layout
        raise WireError(f"a tensor that is {kind} cannot cross; use a dense tensor of numbers")
    if tensor.is_complex():
        raise WireError(f"a tensor of {tensor.dtype} cannot cross; use real numbers")
    if tensor.is_floating_point() and tensor.numel() and not _finite(tensor):
        raise WireError(f"a tensor of shape {tuple(tensor.shape)} holds NaN or infinite values")


def _finite(tensor: Tensor) -> bool:
    """From the two ends, which are NaN where any element is; no mask as large as the tensor."""
    wide = tensor.detach().float() if tensor.element_size() == 1 else tensor.detach()  # float8
    return all(torch.isfinite(end) for end in wide.aminmax())


def _check_header(blob: bytes) -> None:
    (length,) = NAME_BYTES.unpack_from(blob)
    if length > MAX_HEADER_BYTES:
        raise WireError(f"a header of {length} bytes; at most {MAX_HEADER_BYTES} may cross")
    header: dict[str, Any] = json.loads(blob[NAME_BYTES.size : NAME_BYTES.size + length])
    if len(header) > MAX_TENSORS:
        raise WireError(f"{len(header)} tensors; at most {MAX_TENSORS} may cross at once")
    for entry in header.values():
        shape = entry["shape"]
        if len(shape) > MAX_AXES or math.prod(max(1, size) for size in shape) > MAX_ELEMENTS:
            raise WireError(
                f"a tensor of shape {tuple(shape[:MAX_AXES])}; at most {MAX_AXES} axes and "
                f"{MAX_ELEMENTS} elements may cross"
            )
