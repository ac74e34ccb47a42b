"""The end of a lab: hand in the compressed model.

`submit` copies one file to the output folder that the grader collects, after checking what can
be checked early. Nothing that it says is believed: the grader measures the file itself.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from labkit.export.fp32 import OPSET
from labkit.export.runtime import session
from labkit.export.signature import OUTPUT, Signature, concrete, images

ARTEFACT = "model.onnx"
MANIFEST = "manifest.json"
MAX_BYTES = 2**31 - 1  # protobuf, in which ONNX is written, reads no more
SHOWN = 400  # characters of a library's message
TYPES = {"torch.float32": "tensor(float)", "torch.int64": "tensor(int64)"}
BEGINNINGS = {
    b"PK\x03\x04": "a zip archive, such as torch.save and Keras write",
    b"\x80": "a pickle",
    b"\x89HDF": "HDF5, such as Keras writes",
}


@dataclass(frozen=True)
class Manifest:
    """What was handed in. The grader compares it with the file."""

    file: str
    sha256: str
    size_bytes: int


class SubmissionError(ValueError):
    """The model cannot be handed in as it is; the message says what to change."""


def output_folder() -> Path:
    """Where `submit` writes: LABKIT_OUT, or `submission` beside the notebook."""
    return Path(os.environ.get("LABKIT_OUT", "submission"))


def submit(path: Path | str, takes: Signature = images((3, 32, 32), classes=10)) -> Manifest:
    """Hand in an ONNX model as the artefact of this lab.

    Args:
        path: the model, as one file.
        takes: what the lab's model takes and answers; `export.signature_of(model)` says it.

    Raises:
        SubmissionError: the path leads to no ONNX model in one file, or the model does not answer
            one and three inputs, texts of two lengths among them, with finite logits of the right
            shape.
    """
    raw = _read(path)
    _check_model(raw, path)
    model = _loaded(Path(path))
    _check_interface(model, takes)
    longest = takes.max_tokens
    for tokens in sorted({max(1, longest // 2), max(1, longest)}):
        for batch in (1, 3):
            _check_answers(model, takes, batch, tokens)
    manifest = Manifest(ARTEFACT, hashlib.sha256(raw).hexdigest(), len(raw))
    folder = output_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ARTEFACT).write_bytes(raw)
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n")
    return manifest


def _read(path: object) -> bytes:
    if not isinstance(path, str | Path):
        raise SubmissionError(
            f"submit takes the path of an ONNX file and got an object of type {type(path).__name__}; "
            "write the model first: labkit.submit(labkit.export.to_onnx(model, 'model.onnx'))"
        )
    path = Path(path)
    if path.is_dir():
        raise SubmissionError(f"{path} is a folder; give the path of the ONNX file itself")
    if not path.is_file():
        raise SubmissionError(
            f"{path} does not exist (looked in {path.absolute().parent}); write the model there "
            "before submitting it"
        )
    size = path.stat().st_size
    if size == 0:
        raise SubmissionError(f"{path} is empty; the export did not finish, run it again")
    if size > MAX_BYTES:
        raise SubmissionError(
            f"{path} has {size:,} bytes; an ONNX file has at most {MAX_BYTES:,}. Compress it more"
        )
    return path.read_bytes()


def _check_model(raw: bytes, path: Path | str) -> None:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
        parsed = bool(model.graph.node)
    except Exception:  # protobuf's DecodeError, which its versions keep in different places
        parsed = False
    if not parsed:
        raise SubmissionError(
            f"{path} is not a valid ONNX model: {_found(raw)}. Write it with "
            "labkit.export.to_onnx or one of its quantizers"
        )
    outside = [t.name for t in model.graph.initializer if t.data_location == t.EXTERNAL]
    if outside:
        raise SubmissionError(
            f"{path} keeps {outside[0]} and {len(outside) - 1} more tensors in another file, which "
            "is not handed in; save it as one file: onnx.save(onnx.load(path), 'one.onnx')"
        )
    newest = onnx.defs.onnx_opset_version()
    for opset in model.opset_import:
        if opset.domain == "" and opset.version > newest:
            raise SubmissionError(
                f"{path} asks for opset {opset.version}; {newest} is the newest that is known "
                f"here, and labkit.export writes {OPSET}. Export it with opset_version={OPSET}"
            )
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # onnx raises a type per check
        raise SubmissionError(f"{path} is not a valid ONNX model: {_short(error)}") from error


def _found(raw: bytes) -> str:
    for beginning, kind in BEGINNINGS.items():
        if raw.startswith(beginning):
            return f"it holds {kind}"
    if raw[8:9] == b"{":
        return "it holds safetensors, which are weights without the computation"
    return "its bytes do not parse, or hold a graph without nodes"


def _check_interface(model: ort.InferenceSession, takes: Signature) -> None:
    outputs = [value.name for value in model.get_outputs()]
    found = {value.name: (value.type, len(value.shape)) for value in model.get_inputs()}
    wanted = {taken.name: (TYPES[str(taken.dtype)], len(taken.shape)) for taken in takes.inputs}
    if list(found) != list(wanted) or outputs != [OUTPUT]:
        raise SubmissionError(
            f"the model has inputs {list(found)} and outputs {outputs}; expected {list(wanted)} "
            f"and [{OUTPUT!r}], in this order, as labkit.export.to_onnx names them. Where this "
            "lab's model takes something else, say so: labkit.submit(path, "
            "takes=labkit.export.signature_of(model))"
        )
    for name, (kind, axes) in wanted.items():
        if found[name] != (kind, axes):
            raise SubmissionError(
                f"the input {name!r} is a {found[name][0]} with {found[name][1]} axes; expected "
                f"a {kind} with {axes}"
            )


def _loaded(path: Path) -> ort.InferenceSession:
    try:
        return session(path)
    except Exception as error:  # onnxruntime raises a type per status code
        opsets = {o.domain or "ai.onnx": o.version for o in onnx.load(str(path)).opset_import}
        raise SubmissionError(
            f"ONNX Runtime {ort.__version__} does not load {path}, whose opsets are {opsets}; "
            f"labkit.export writes {OPSET}. It says: {_short(error)}"
        ) from error


def _check_answers(model: ort.InferenceSession, takes: Signature, batch: int, tokens: int) -> None:
    example = takes.example(batch, tokens)
    given = " and ".join(f"{name} of shape {tuple(v.shape)}" for name, v in example.items())
    try:
        found = model.run([OUTPUT], {name: v.numpy() for name, v in example.items()})[0]
    except Exception as error:  # onnxruntime raises a type per status code
        free = (
            "any number of images"
            if not takes.max_tokens
            else (
                f"any number of texts, of tokens up to {takes.max_tokens}, "
                f"and every token id below {takes.vocabulary}"
            )
        )
        raise SubmissionError(
            f"the model does not run on {given}; it must take {free} (dynamic_shapes in "
            f"torch.onnx.export leave sizes free). It says: {_short(error)}"
        ) from error
    wanted = concrete(takes.output, batch, tokens)
    if found.shape != wanted:
        raise SubmissionError(
            f"the model answers {given} with {OUTPUT} of shape {found.shape}; expected {wanted}"
        )
    bad = int((~np.isfinite(found)).sum())
    if bad:
        raise SubmissionError(
            f"the model answers with {bad} NaN or infinite logits of {found.size} to {given}; "
            "look for a scale of zero or weights that diverged in training"
        )


def _short(error: Exception) -> str:
    """The first lines of a library's message, which can run to pages."""
    return str(error).strip()[:SHOWN]
