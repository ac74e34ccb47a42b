"""What crosses between the grader and a student's process: JSON and safetensors, nothing else.

A frame is two big-endian lengths (of a JSON document and of a safetensors blob) and the two. No
frame can carry code, and every size is checked before anything is read. Both sides import this
module; only the grader's side is believed.
"""

import io
import json
import math
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from labkit.models import build, layer_count, spec_from_dict, spec_of, spec_to_dict

HEADER = struct.Struct(">QQ")
MAX_FRAME_BYTES = 256 * 1024**2
MAX_DOCUMENT_BYTES = 8 * 1024**2  # parsed, JSON takes some thirty times its bytes
MAX_DEPTH = 32

Message = dict[str, Any]


class WireError(Exception):
    """A value cannot cross, or what came is not a frame. The message is fit for a student."""


def write_frame(stream: BinaryIO, message: Message, blob: bytes = b"") -> None:
    document = json.dumps(message, allow_nan=False).encode()
    _check_sizes(len(document), len(blob))
    stream.write(HEADER.pack(len(document), len(blob)) + document + blob)
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[Message, bytes]:
    """The next frame.

    Raises:
        EOFError: the other side is gone.
        WireError: what came is not a frame, or is too large.
    """
    document_bytes, blob_bytes = HEADER.unpack(_read_exactly(stream, HEADER.size))
    _check_sizes(document_bytes, blob_bytes)
    document = _read_exactly(stream, document_bytes)
    blob = _read_exactly(stream, blob_bytes)
    try:
        message = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a frame that is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise WireError(f"a frame holds a {type(message).__name__}, expected an object")
    return message, blob


def encode(value: object) -> tuple[Any, bytes]:
    """A value as a JSON tree and the tensors that it refers to.

    Raises:
        WireError: a type that has no form on the wire, or a number that is not finite.
    """
    tensors: dict[str, Tensor] = {}
    tree = _encode(value, tensors, 0)
    return tree, save_tensors(tensors) if tensors else b""


def decode(tree: Any, blob: bytes) -> Any:
    """The inverse of `encode`; every number and every tensor is finite.

    Raises:
        WireError: the tree or the blob is not what `encode` writes.
    """
    try:
        tensors = load_tensors(blob) if blob else {}
        return _decode(tree, tensors, 0)
    except WireError:
        raise
    except Exception as error:  # whatever a forged frame provokes is the sender's fault
        raise WireError(f"a value that cannot be read: {error}") from error


def _check_sizes(document_bytes: int, blob_bytes: int) -> None:
    if document_bytes > MAX_DOCUMENT_BYTES or document_bytes + blob_bytes > MAX_FRAME_BYTES:
        raise WireError(
            f"{document_bytes} bytes of values and {blob_bytes} of tensors; at most "
            f"{MAX_DOCUMENT_BYTES} and {MAX_FRAME_BYTES} in all may cross"
        )


def _encode(value: object, tensors: dict[str, Tensor], depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise WireError(f"a value nested more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | np.generic):
        return _encode_number(value)
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encode(item, tensors, depth + 1) for item in value]}
    if isinstance(value, dict):
        return {"dict": {_key(k): _encode(v, tensors, depth + 1) for k, v in value.items()}}
    if isinstance(value, Tensor | np.ndarray):
        return _encode_array(value, tensors)
    if isinstance(value, nn.Module) and (spec := spec_of(value)) is not None:
        state = {key: _store(part, tensors) for key, part in value.state_dict().items()}
        return {"model": spec_to_dict(spec), "state": state}
    raise WireError(
        f"a {type(value).__name__} cannot be returned to the grader; return None, numbers, "
        "strings, lists, tuples, dicts, tensors, arrays or a labkit model"
    )


def _encode_number(value: float | np.generic) -> Any:
    number = value.item() if isinstance(value, np.generic) else float(value)
    if not isinstance(number, bool | int | float):
        raise WireError(f"a {type(value).__name__} cannot cross; use real numbers")
    if isinstance(number, float) and not math.isfinite(number):
        raise WireError(f"the number {number} is not finite")
    return number


def _encode_array(value: Tensor | np.ndarray[Any, Any], tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return {"tensor": _store(value.detach(), tensors)}
    if value.dtype.kind not in "biuf":
        raise WireError(f"an array of {value.dtype} cannot cross; use booleans or numbers")
    return {"array": _store(torch.from_numpy(np.ascontiguousarray(value)), tensors)}


def _store(tensor: Tensor, tensors: dict[str, Tensor]) -> str:
    _check_finite(tensor)
    key = str(len(tensors))
    tensors[key] = tensor.detach().cpu().contiguous().clone()
    return key


def _check_finite(tensor: Tensor) -> None:
    if tensor.is_complex():
        raise WireError(f"a tensor of {tensor.dtype} cannot cross; use real numbers")
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise WireError(f"a tensor of shape {tuple(tensor.shape)} holds NaN or infinite values")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise WireError(f"a dict key is {key!r}; the keys of a dict must be strings")
    return key


def _decode(tree: Any, tensors: Mapping[str, Tensor], depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise WireError(f"a value nested more than {MAX_DEPTH} deep")
    if tree is None or isinstance(tree, bool | int | str):
        return tree
    if isinstance(tree, float):
        return _encode_number(tree)
    if not isinstance(tree, dict):
        raise WireError(f"a {type(tree).__name__} where a value should stand")
    if "model" in tree:
        return _decode_model(tree, tensors)
    (kind, content), *others = tree.items()
    if others:
        raise WireError(f"a value with the fields {sorted(tree)}")
    return _decode_container(kind, content, tensors, depth + 1)


def _decode_container(kind: str, content: Any, tensors: Mapping[str, Tensor], depth: int) -> Any:
    if kind in ("list", "tuple"):
        items = [_decode(item, tensors, depth) for item in content]
        return items if kind == "list" else tuple(items)
    if kind == "dict":
        return {_key(key): _decode(item, tensors, depth) for key, item in content.items()}
    if kind in ("tensor", "array"):
        tensor = tensors[content]
        _check_finite(tensor)
        return tensor if kind == "tensor" else tensor.numpy()
    raise WireError(f"a value of the unknown kind {kind!r}")


def _decode_model(tree: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    state = {key: tensors[index] for key, index in tree["state"].items()}
    for part in state.values():
        _check_finite(part)
    spec = spec_from_dict(tree["model"])
    layers = layer_count(spec)
    if not isinstance(layers, int) or layers > len(state):
        raise WireError(f"a model spec with {layers} layers for {len(state)} tensors")
    with torch.device("meta"):  # a forged spec must not allocate what no tensor backs
        wanted = {key: part.shape for key, part in build(spec).state_dict().items()}
    found = {key: part.shape for key, part in state.items()}
    if found != wanted:
        raise WireError(f"a model whose tensors are not its spec's: {_difference(found, wanted)}")
    model = build(spec)  # no larger than what came; not on meta, where buffers would have no values
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def _difference(found: Mapping[str, torch.Size], wanted: Mapping[str, torch.Size]) -> str:
    name = next(key for key in (*wanted, *found) if found.get(key) != wanted.get(key))
    shapes = [None if part is None else tuple(part) for part in (found.get(name), wanted.get(name))]
    return f"{name} has shape {shapes[0]}, expected {shapes[1]}"


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    buffer = io.BytesIO()
    while (missing := count - buffer.tell()) > 0:
        part = stream.read(min(missing, 1024**2))
        if not part:
            raise EOFError("the other side closed the pipe")
        buffer.write(part)
    return buffer.getvalue()
