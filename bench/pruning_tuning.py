"""What the parts of bench.pruning share: fine-tuning with the dense model's answers, and measuring.

The budget of a fine-tuning is a number of passes over the training data, in one cosine cycle of
labkit.training: the epoch that is best on validation wins. The loss is

    share T^2 KL(dense model | pruned model)  +  (1 - share) cross-entropy

on the same inputs for both, mirrored and cropped alike (Hinton et al., 2015, arXiv:1503.02531); for
texts, which are never changed, the dense model answers once. The test part is asked once, about a
network that is finished.
"""

import copy
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import baselines, export, footprint, timing
from labkit.baselines import bert_movie_reviews, resnet_cifar10, vit_cifar10
from labkit.baselines.recipe import Study
from labkit.data import Batch
from labkit.evaluation import text_logits
from labkit.models import logits_in
from labkit.onnx_session import IDS, INPUT, MASK
from labkit.tasks import ImageClassification, TextClassification
from labkit.text import TokenBatch
from labkit.training import Task, TrainingConfig, fit

RECIPES = {
    each.name: each
    for each in (resnet_cifar10.RECIPE, vit_cifar10.RECIPE, bert_movie_reviews.RECIPE)
}
SGD = TrainingConfig(epochs=3, learning_rate=0.1, warmup=0.1, bfloat16=True)
ADAMW = TrainingConfig(
    epochs=4,
    batch_size=32,
    optimizer="adamw",
    learning_rate=2e-4,
    warmup=0.1,
    weight_decay=0.01,
    clip_norm=1.0,
    bfloat16=True,
)
VIT = replace(ADAMW, batch_size=128, learning_rate=6e-4, weight_decay=0.05)
TRAINING = {"resnet_cifar10": SGD, "bert_movie_reviews": ADAMW, "vit_cifar10": VIT}
SHARE, TEMPERATURE = 0.7, 2.0
IMAGES_AT_ONCE, TEXTS_AT_ONCE = 16, 8  # of a timed call


@dataclass(frozen=True)
class Budget:
    """What may be spent. QUICK shows that everything runs, and says nothing about quality."""

    epochs: int | None = None  # at most; None: as many as a part asks for
    rows: int | None = None  # of training and validation
    pairs: int = 60  # of timed calls
    test: bool = True


FULL, QUICK = Budget(), Budget(epochs=1, rows=256, pairs=5, test=False)


@dataclass(frozen=True)
class Taught:
    """A task in which a dense model's answers stand beside the labels. See labkit.training.Task."""

    task: ImageClassification | TextClassification
    teacher: nn.Module
    told: Tensor | None = None  # the teacher's logits, where every epoch shows the same inputs

    @property
    def rows(self) -> int:
        return self.task.rows

    def loss(self, model: nn.Module, chosen: Tensor, generator: torch.Generator) -> Tensor:
        inputs, labels = _drawn(self.task, self.teacher, chosen, generator)
        answers = logits_in(model(**inputs)).float()
        told = self._told(chosen, inputs)
        soft = F.kl_div(
            (answers / TEMPERATURE).log_softmax(1),
            (told / TEMPERATURE).log_softmax(1),
            reduction="batchmean",
            log_target=True,
        )
        hard = F.cross_entropy(answers, labels)
        return SHARE * TEMPERATURE**2 * soft + (1 - SHARE) * hard

    @torch.no_grad()
    def _told(self, chosen: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        if self.told is not None:
            return self.told[chosen]
        return logits_in(self.teacher(**inputs)).float()

    def score(self, model: nn.Module) -> float:
        return self.task.score(model)


@dataclass(frozen=True)
class Subject:
    """A baseline, what it learned from, and how it is measured."""

    name: str
    dense: nn.Module
    study: Study
    task: Taught
    budget: Budget

    def tuned_(self, model: nn.Module, epochs: int, task: Task | None = None) -> float:
        """Fine-tune in place, and give the seconds that it took."""
        start = monotonic()
        for part in model.modules():
            if isinstance(part, nn.Embedding):
                part.requires_grad_(False)  # half of BERT, which a tenth of its texts' words reach
        for each in (model, self.dense):
            each.to(memory_format=torch.channels_last)
        fit(model, task or self.task, replace(TRAINING[self.name], epochs=self.epochs(epochs)))
        for each in (model, self.dense):
            each.to(memory_format=torch.contiguous_format)
        model.eval()
        return monotonic() - start

    def epochs(self, wanted: int) -> int:
        return min(wanted, self.budget.epochs or wanted)

    def fresh(self) -> nn.Module:
        """A copy of the dense model, to be trained."""
        return copy.deepcopy(self.dense)

    def accuracy(self, model: nn.Module) -> float:
        """On validation, in per cent."""
        return 100 * self.task.score(model)

    def tested(self, model: nn.Module) -> float | None:
        """On the test part, in per cent; None where the budget spares it."""
        return 100 * self.study.test(model).value if self.budget.test else None


@dataclass(frozen=True)
class Size:
    """A network beside the dense one: what the dense one takes over what this takes."""

    parameters: float
    bytes: float  # of the ONNX file
    macs: float
    faster: timing.Speedup


def subject(name: str, budget: Budget) -> Subject:
    dense = baselines.load(name)
    study = RECIPES[name].study()
    task = study.task
    assert isinstance(task, ImageClassification | TextClassification)
    if budget.rows is not None:
        train, validation = (_first(each, budget.rows) for each in (task.train, task.validation))
        task = replace(task, train=train, validation=validation)
    told = text_logits(dense, task.train) if isinstance(task, TextClassification) else None
    return Subject(name, dense, study, Taught(task, dense, told), budget)


def measured(of: Subject, model: nn.Module) -> Size:
    """Against the dense model. Time is of ONNX Runtime with one thread, in interleaved pairs."""
    inputs = inputs_of(of.dense, _first(of.task.task.train, 1))
    inputs.pop(MASK, None)  # transformers asks for its values, which `meta` does not have
    macs = [footprint.operations(each, **inputs).macs for each in (of.dense, model)]
    counts = [sum(p.numel() for p in each.parameters()) for each in (of.dense, model)]
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{which}.onnx" for which in ("dense", "pruned")]
        takes = export.signature_of(of.dense)
        for each, path in zip((of.dense, model), paths, strict=True):
            export.to_onnx(each, path, takes)
        written = [path.stat().st_size for path in paths]
        pairs = timing.time_feeds(*paths, _feeds(of), seed=0)
    ratios = (counts[0] / counts[1], written[0] / written[1], macs[0] / macs[1])
    return Size(*ratios, timing.speedup(pairs))


def batches(of: Subject, count: int, size: int) -> list[dict[str, Tensor]]:
    """Training examples for criteria: the model's arguments by name, and `labels`."""
    order = torch.randperm(of.task.rows, generator=torch.Generator().manual_seed(0))
    train = of.task.task.train
    parts = [_chosen(train, rows) for rows in order[: count * size].split(size)]
    return [{**inputs_of(of.dense, part), "labels": part.labels} for part in parts]


def loss_of(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy on the labels, for criteria that look at a loss."""
    return F.cross_entropy(logits_in(model(**without_labels(batch))), batch["labels"])


def without_labels(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if name != "labels"}


def inputs_of(model: nn.Module, part: Batch | TokenBatch) -> dict[str, Tensor]:
    """The arguments of a forward call by name."""
    if isinstance(part, TokenBatch):
        return {IDS: part.input_ids, MASK: part.attention_mask}
    return {"pixel_values" if hasattr(model, "config") else INPUT: part.images}


def _drawn(
    task: ImageClassification | TextClassification,
    model: nn.Module,
    chosen: Tensor,
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], Tensor]:
    """The chosen rows as the task would show them, and their labels."""
    part = _chosen(task.train, chosen)
    if isinstance(part, Batch) and isinstance(task, ImageClassification) and task.augment:
        part = part._replace(images=task.augment(part.images, generator))
    return inputs_of(model, part), part.labels


def _chosen(data: Batch | TokenBatch, rows: Tensor) -> Batch | TokenBatch:
    if isinstance(data, TokenBatch):
        return data.rows(rows).trimmed()
    return Batch(data.images[rows], data.labels[rows])


def _first(data: Batch | TokenBatch, count: int) -> Batch | TokenBatch:
    return _chosen(data, torch.arange(min(count, len(data.labels))))


def _feeds(of: Subject) -> list[timing.Feed]:
    """Validation examples in batches, under the names of the ONNX inputs."""
    data = of.task.task.validation
    size = TEXTS_AT_ONCE if isinstance(data, TokenBatch) else IMAGES_AT_ONCE
    count = timing.WARM_UP_CALLS + of.budget.pairs
    places = torch.arange(count * size).remainder(len(data.labels)).split(size)
    if isinstance(data, TokenBatch):
        parts = [data.rows(rows) for rows in places]
        return [{IDS: p.input_ids.numpy(), MASK: p.attention_mask.numpy()} for p in parts]
    return [{INPUT: data.images[rows].contiguous().numpy()} for rows in places]
