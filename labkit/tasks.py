"""What the course's models learn: to name images, to name texts, to go on with a text."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from labkit import evaluation
from labkit.data import Batch
from labkit.models import logits_in
from labkit.text import TokenBatch

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class ImageClassification:
    """Scored by the share of right answers on validation."""

    train: Batch
    validation: Batch
    augment: Augment | None = None
    label_smoothing: float = 0.0

    @property
    def rows(self) -> int:
        return len(self.train.labels)

    def loss(
        self, model: nn.Module, chosen: Int[Tensor, " batch"], generator: torch.Generator
    ) -> Tensor:
        images = self.train.images[chosen]
        if self.augment is not None:
            images = self.augment(images, generator)
        answers = logits_in(model(images)).float()
        return F.cross_entropy(
            answers, self.train.labels[chosen], label_smoothing=self.label_smoothing
        )

    def score(self, model: nn.Module) -> float:
        return evaluation.accuracy(model, self.validation)


@dataclass(frozen=True)
class TextClassification:
    """Scored by the share of right answers on validation. Batches are cut to their longest text."""

    train: TokenBatch
    validation: TokenBatch
    label_smoothing: float = 0.0

    @property
    def rows(self) -> int:
        return len(self.train.labels)

    def loss(
        self, model: nn.Module, chosen: Int[Tensor, " batch"], generator: torch.Generator
    ) -> Tensor:
        part = self.train.rows(chosen).trimmed()
        answers = logits_in(model(part.input_ids, attention_mask=part.attention_mask)).float()
        return F.cross_entropy(answers, part.labels, label_smoothing=self.label_smoothing)

    def score(self, model: nn.Module) -> float:
        return evaluation.accuracy(model, self.validation)


@dataclass(frozen=True)
class LanguageModelling:
    """Scored by the negative loss in nats per token on validation."""

    train: Int[Tensor, "windows context"]
    validation: Int[Tensor, "windows context"]

    @property
    def rows(self) -> int:
        return len(self.train)

    def loss(
        self, model: nn.Module, chosen: Int[Tensor, " batch"], generator: torch.Generator
    ) -> Tensor:
        windows = self.train[chosen]
        answers = logits_in(model(windows[:, :-1])).float()
        return F.cross_entropy(answers.flatten(0, 1), windows[:, 1:].flatten())

    def score(self, model: nn.Module) -> float:
        return -evaluation.token_losses(model, self.validation).mean().item()


def flip_and_crop(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Mirror half of the images, and shift each by up to `padding` pixels (He et al. 2016)."""
    count, _, height, width = images.shape
    mirrored = torch.rand(count, generator=generator) < 0.5
    images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
    padded = F.pad(images, (padding,) * 4)
    top, left = torch.randint(2 * padding + 1, (2, count), generator=generator)
    rows = (top[:, None] + torch.arange(height))[:, None, :, None]
    columns = (left[:, None] + torch.arange(width))[:, None, None, :]
    item = torch.arange(count)[:, None, None, None]
    channel = torch.arange(images.shape[1])[None, :, None, None]
    return padded[item, channel, rows, columns]
