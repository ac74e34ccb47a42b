"""Inside the sandbox: read a student's safetensors checkpoint, and answer it in canonical form.

A checkpoint holds weights alone. Its architecture is that of the lab's baseline, so a file can say
neither what is computed nor how large a tensor becomes when it is unpacked. Beside the canonical
file the answer holds the same model as ONNX in FP32, which the other rooms run: a runtime for the
layout itself does not exist, and would not be faster (docs/measurement.md).
"""

import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from autograder import frames
from autograder.canonical import NAME_CHARACTERS, Line
from labkit import export
from labkit.export import bitmask, pack_quantized
from labkit.export.checkpoint import stored_tensors
from labkit.models import build, spec_from_dict
from labkit.onnx_rules import NotAcceptable

TYPES = {
    torch.float32: "float", torch.float16: "float16", torch.int8: "int8", torch.uint8: "uint8",
    torch.int32: "int32", torch.int64: "int64", torch.bool: "bool",
}  # fmt: skip
ROLES = {
    "bitmask": "mask", "row_offsets": "index", "shape": "index", "weight_shape": "index",
    "compressed": "weight", "weight_packed": "codes", "weight_scale": "scale",
    "weight_zero_point": "zero point", "bias": "bias",
}  # fmt: skip  # by the last part of a tensor's name
PACKED = "weight_packed"


def answer(request: frames.Message, raw: bytes) -> tuple[frames.Message, bytes]:
    """The canonical checkpoint followed by the model as ONNX, or why it is refused.

    Args:
        request: `file`, the name for messages; `spec`, of the baseline.
    """
    try:
        return _answer(request, raw)
    except NotAcceptable as problem:
        return {"refused": str(problem)}, b""
    except Exception as error:  # torch raises whatever a forged file provokes
        message = f"The checkpoint could not be read: {type(error).__name__}: {str(error)[:500]}"
        return {"refused": message}, b""


def _answer(request: frames.Message, raw: bytes) -> tuple[frames.Message, bytes]:
    try:
        stored = load(raw)
    except Exception as error:
        raise NotAcceptable(f"{request['file']} is no safetensors file: {error}") from error
    model = build(spec_from_dict(request["spec"])).eval()
    wanted = stored_tensors(model)
    _check_types(stored)
    _check_shapes(stored, wanted)
    state = _unpacked(stored)
    _check_state(state, wanted)
    model.load_state_dict(state, strict=False)  # what shares a weight with others is not stored
    lines = [_line(name, stored, state) for name in sorted(stored)]
    canonical = save({name: stored[name].contiguous() for name in sorted(stored)})
    with tempfile.TemporaryDirectory() as folder:
        runnable = export.to_onnx(model, Path(folder) / "dense.onnx").read_bytes()
    reply = {"ledger": [asdict(line) for line in lines], "canonical_bytes": len(canonical)}
    return reply, canonical + runnable


def _check_types(stored: dict[str, Tensor]) -> None:
    for name, tensor in stored.items():
        if tensor.dtype not in TYPES:
            raise NotAcceptable(f"{name[:100]} has the type {tensor.dtype}; expected {_known()}.")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise NotAcceptable(f"{name[:100]} holds NaN or infinite values.")


def _check_shapes(stored: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """What a file unpacks to is as large as the model's own tensor, and nothing else."""
    for name, said in stored.items():
        layer, _, part = name.rpartition(".")
        if part not in ("shape", "weight_shape"):
            continue
        weight = wanted.get(f"{layer}.weight")
        if weight is None or said.tolist() != list(weight.shape):
            expected = "no such layer" if weight is None else list(weight.shape)
            raise NotAcceptable(f"{name[:100]} says {said.tolist()[:8]}; the model has {expected}.")


def _unpacked(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    if not any(name.endswith(PACKED) for name in stored):
        return bitmask.unmasked(stored)
    sizes = {
        int(stored[f"{name}_shape"][1]) // stored[f"{name}_scale"].shape[1]
        for name in (key.removesuffix("_packed") for key in stored if key.endswith(PACKED))
    }
    if len(sizes) != 1:
        raise NotAcceptable(f"The layers have groups of {sorted(sizes)} inputs; expected one size.")
    return pack_quantized.unpack(stored, sizes.pop())


def _check_state(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    if strange := sorted(state.keys() ^ wanted.keys()):
        where = "the file" if strange[0] in state else "the baseline"
        raise NotAcceptable(
            f"The checkpoint is of another model: only {where} has {strange[0][:100]}. It must "
            "hold every tensor of the lab's baseline, under its name."
        )
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            raise NotAcceptable(
                f"{name} has the shape {list(tensor.shape)}; expected {list(wanted[name].shape)}."
            )


def _line(name: str, stored: dict[str, Tensor], state: dict[str, Tensor]) -> Line:
    tensor = stored[name]
    layer, _, part = name.rpartition(".")
    role = ROLES.get(part, "weight" if tensor.dim() > 1 else "norm")
    counted = None
    if part in ("bitmask", PACKED):  # these stand for the whole weight
        counted = state[f"{layer}.weight"]
    elif name in state:
        counted = tensor
    elements = 0 if counted is None else counted.numel()
    zeros = 0 if counted is None else int((counted == 0).sum())
    return Line(
        name[:NAME_CHARACTERS], tuple(tensor.shape), TYPES[tensor.dtype], tensor.nbytes, role,
        elements, zeros,
    )  # fmt: skip


def _known() -> str:
    return ", ".join(str(dtype).removeprefix("torch.") for dtype in TYPES)


if __name__ == "__main__":
    frames.answer_one(answer)
