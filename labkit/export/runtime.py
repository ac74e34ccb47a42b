"""ONNX models at work: their answers on images and texts, and a language model's losses."""

from collections.abc import Iterator
from pathlib import Path

import onnxruntime as ort
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from labkit.onnx_session import IDS, MASK, OUTPUT, session
from labkit.text import TokenBatch

Inputs = Tensor | TokenBatch  # images, windows of tokens, or texts with their masks


def predict(path: Path | str, inputs: Inputs, chunk: int = 250) -> Float[Tensor, "count ..."]:
    """The answers of an ONNX model, computed `chunk` images or texts at a time.

    Raises:
        ValueError: the model takes texts and got images, or the other way round.
    """
    model = session(path, threads=torch.get_num_threads())
    if not isinstance(inputs, TokenBatch):
        return torch.cat([answer(model, part) for part in pieces(inputs, chunk)])
    order = inputs.attention_mask.sum(dim=1).argsort()  # texts of like length pad each other least
    parts = pieces(inputs.rows(order), chunk)
    return torch.cat([answer(model, part) for part in parts])[order.argsort()]


def token_losses(
    path: Path | str, windows: Int[Tensor, "windows context"], chunk: int = 32
) -> Float[Tensor, "windows predicted"]:
    """The loss in nats of every predicted token, as `labkit.evaluation.token_losses` has it."""
    model = session(path, threads=torch.get_num_threads())
    found = []
    for part in windows.split(chunk):
        logits = answer(model, part[:, :-1])
        found.append(F.cross_entropy(logits.transpose(1, 2), part[:, 1:], reduction="none"))
    return torch.cat(found)


def answer(model: ort.InferenceSession, inputs: Inputs) -> Float[Tensor, "count ..."]:
    """The logits that a loaded model gives to one batch."""
    values = model.run([OUTPUT], feed(model, inputs))[0]
    return torch.from_numpy(values)


def feed(model: ort.InferenceSession, inputs: Inputs) -> dict[str, object]:
    """The inputs by the names under which the model takes them."""
    wanted = [value.name for value in model.get_inputs()]
    if isinstance(inputs, TokenBatch):
        given = {IDS: inputs.input_ids, MASK: inputs.attention_mask}
    else:
        given = dict.fromkeys(wanted[:1], inputs)
    if wanted != list(given):
        got = "a TokenBatch" if isinstance(inputs, TokenBatch) else "one tensor"
        raise ValueError(
            f"the model takes {', '.join(wanted)}, and got {got}; images and windows of tokens go "
            "in as one tensor, texts to classify as a labkit.text.TokenBatch"
        )
    return {name: value.contiguous().numpy() for name, value in given.items()}


def pieces(inputs: Inputs, chunk: int) -> Iterator[Inputs]:
    """`chunk` rows at a time, texts without the columns in which all of them are padded."""
    if isinstance(inputs, TokenBatch):
        for start in range(0, len(inputs.input_ids), chunk):
            yield inputs.rows(slice(start, start + chunk)).trimmed()
    else:
        yield from inputs.split(chunk)
