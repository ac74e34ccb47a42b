"""How good a model is: share of right answers, and nats per token."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.data import Batch
from labkit.models import logits_in
from labkit.text import TokenBatch


def accuracy(model: nn.Module, batch: Batch | TokenBatch) -> float:
    """Share of right answers, from 0 to 1. Leaves the model in the mode it was in."""
    right = (_answers(model, batch).argmax(dim=1) == batch.labels).sum()
    return right.item() / len(batch.labels)


def logits(
    model: nn.Module, images: Float[Tensor, "count ..."], chunk: int = 500
) -> Float[Tensor, "count classes"]:
    """The model's answers in evaluation mode, computed `chunk` images at a time."""
    with _evaluating(model):
        return torch.cat([logits_in(model(part)).float() for part in images.split(chunk)])


def text_logits(
    model: nn.Module, batch: TokenBatch, chunk: int = 250
) -> Float[Tensor, "count classes"]:
    """The model's answers in evaluation mode, `chunk` texts at a time, the shortest first."""
    order = batch.attention_mask.sum(dim=1).argsort()
    with _evaluating(model):
        parts = [batch.rows(chosen).trimmed() for chosen in order.split(chunk)]
        answers = [logits_in(model(p.input_ids, attention_mask=p.attention_mask)) for p in parts]
    return torch.cat(answers).float()[order.argsort()]


def token_losses(
    model: nn.Module, windows: Int[Tensor, "windows context"], chunk: int = 32
) -> Float[Tensor, "windows predicted"]:
    """The loss in nats of every predicted token; the mean's exponential is the perplexity."""
    found = []
    with _evaluating(model):
        for part in windows.split(chunk):
            answers = logits_in(model(part[:, :-1])).float()
            loss = F.cross_entropy(answers.transpose(1, 2), part[:, 1:], reduction="none")
            found.append(loss)
    return torch.cat(found)


def perplexity(model: nn.Module, windows: Int[Tensor, "windows context"]) -> float:
    """exp of the mean loss in nats per token, over windows that do not overlap."""
    return float(token_losses(model, windows).double().mean().exp())


def _answers(model: nn.Module, batch: Batch | TokenBatch) -> Float[Tensor, "count classes"]:
    if isinstance(batch, Batch):
        return logits(model, batch.images)
    return text_logits(model, batch)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
