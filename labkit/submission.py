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
import onnxruntime as ort

from labkit import onnx_rules
from labkit.export import checkpoint, onnx_file
from labkit.export.signature import Signature, concrete, images
from labkit.onnx_session import OUTPUT

ARTEFACT = "model.onnx"
CHECKPOINT = "model.safetensors"
MANIFEST = "manifest.json"
TYPES = {"torch.float32": "tensor(float)", "torch.int64": "tensor(int64)"}


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
    """Hand in a model as the artefact of this lab: an ONNX file, or a compressed checkpoint.

    Args:
        path: the ONNX model, as one file; or the folder that `export.save_packed_int4` or
            `export.save_sparse_bitmask` wrote, in labs that take weights of the baseline.
        takes: what the lab's ONNX model takes and answers; `export.signature_of(model)` says it.

    Raises:
        SubmissionError: the path leads to no ONNX model in one file, or the model does not answer
            one and three inputs, texts of two lengths among them, with finite logits of the right
            shape.
    """
    if isinstance(path, str | Path) and (Path(path) / checkpoint.WEIGHTS).is_file():
        return _submit_checkpoint(Path(path))
    try:
        raw = onnx_file.read(path)
        model = onnx_file.loaded(raw)
    except ValueError as error:
        raise SubmissionError(str(error)) from error
    _check_interface(model, takes)
    longest = takes.max_tokens
    for tokens in sorted({max(1, longest // 2), max(1, longest)}):
        for batch in (1, 3):
            _check_answers(model, takes, batch, tokens)
    return _written(ARTEFACT, raw)


def _submit_checkpoint(folder: Path) -> Manifest:
    try:
        raw = checkpoint.as_one_file(folder)
    except ValueError as error:
        raise SubmissionError(str(error)) from error
    if len(raw) > onnx_rules.MAX_BYTES:
        raise SubmissionError(
            f"{folder} has {len(raw):,} bytes of weights; at most {onnx_rules.MAX_BYTES:,} can be "
            "handed in"
        )
    return _written(CHECKPOINT, raw)


def _written(file: str, raw: bytes) -> Manifest:
    manifest = Manifest(file, hashlib.sha256(raw).hexdigest(), len(raw))
    folder = output_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(raw)
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n")
    return manifest


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
            f"torch.onnx.export leave sizes free). It says: {onnx_file.short(error)}"
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
