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

from labkit.export import INPUT, OUTPUT, session

ARTEFACT = "model.onnx"
MANIFEST = "manifest.json"


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


def submit(
    path: Path | str, input_shape: tuple[int, ...] = (3, 32, 32), classes: int = 10
) -> Manifest:
    """Hand in an ONNX model as the artefact of this lab.

    Args:
        path: the model, with an input `images` of any batch size and an output `logits`.
        input_shape: of one image.

    Raises:
        SubmissionError: the file is missing or is no ONNX model, stores weights elsewhere, or
            does not answer a batch of images with finite logits of the right shape.
    """
    path = Path(path)
    _check_file(path)
    for count in (1, 3):
        _check_answers(path, (count, *input_shape), classes)
    raw = path.read_bytes()
    manifest = Manifest(ARTEFACT, hashlib.sha256(raw).hexdigest(), len(raw))
    folder = output_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ARTEFACT).write_bytes(raw)
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n")
    return manifest


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise SubmissionError(f"{path} does not exist; write the model there before submitting it")
    try:
        model = onnx.load(str(path), load_external_data=False)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf, onnx and the file system each raise their own
        raise SubmissionError(f"{path} is not a valid ONNX model: {error}") from error
    outside = [t.name for t in model.graph.initializer if t.data_location == t.EXTERNAL]
    if outside:
        raise SubmissionError(
            f"{path} keeps {outside[0]} in another file; save it as one file (save_model's default)"
        )


def _check_answers(path: Path, shape: tuple[int, ...], classes: int) -> None:
    model = session(path)
    inputs = [value.name for value in model.get_inputs()]
    outputs = [value.name for value in model.get_outputs()]
    if inputs != [INPUT] or outputs != [OUTPUT]:
        raise SubmissionError(
            f"the model has inputs {inputs} and outputs {outputs}; "
            f"expected [{INPUT!r}] and [{OUTPUT!r}]"
        )
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    try:
        answers = model.run([OUTPUT], {INPUT: images})[0]
    except Exception as error:  # onnxruntime raises a different type per status code
        raise SubmissionError(
            f"the model does not run on a batch of shape {shape}: {error}"
        ) from error
    if answers.shape != (shape[0], classes):
        raise SubmissionError(
            f"the model answers {shape[0]} images with shape {tuple(answers.shape)}; "
            f"expected {(shape[0], classes)}"
        )
    if not np.isfinite(answers).all():
        raise SubmissionError("the model answers with NaN or infinite logits")
