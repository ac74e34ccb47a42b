"""The one training loop of the course: SGD, one cosine cycle, the best validation epoch wins."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit.data import Batch

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class TrainingConfig:
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 0.2  # the peak, reached after `warmup` of all steps
    warmup: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    patience: int | None = None  # epochs without a better validation accuracy before stopping
    bfloat16: bool = False  # autocast: several times faster where the CPU has AMX or AVX512-BF16
    seed: int = 0


@dataclass(frozen=True)
class EpochRecord:
    epoch: int
    train_loss: float
    validation_accuracy: float  # 0..1


def fit(
    model: nn.Module,
    train: Batch,
    validation: Batch,
    config: TrainingConfig,
    augment: Augment | None = None,
) -> list[EpochRecord]:
    """Train in place, and leave the weights of the best validation epoch. The same every time
    on one machine and thread count, because every random draw comes from `config.seed`."""
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=True,
    )
    steps = config.epochs * math.ceil(len(train.labels) / config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _one_cycle(steps, config.warmup))
    history: list[EpochRecord] = []
    best_state = copy.deepcopy(model.state_dict())
    epochs = tqdm(range(config.epochs), desc="training", unit="epoch")
    for epoch in epochs:
        loss = _train_epoch(model, train, config, optimizer, schedule, augment, generator)
        record = EpochRecord(epoch, loss, accuracy(model, validation, config.bfloat16))
        epochs.set_postfix(loss=f"{loss:.3f}", validation=f"{record.validation_accuracy:.4f}")
        if all(record.validation_accuracy > past.validation_accuracy for past in history):
            best_state = copy.deepcopy(model.state_dict())
        history.append(record)
        if config.patience is not None and _epochs_since_best(history) >= config.patience:
            break
    model.load_state_dict(best_state)
    return history


def accuracy(model: nn.Module, batch: Batch, bfloat16: bool = False) -> float:
    """Share of right answers, from 0 to 1. Leaves the model in the mode it was in."""
    right = (logits(model, batch.images, bfloat16=bfloat16).argmax(dim=1) == batch.labels).sum()
    return right.item() / len(batch.labels)


@torch.no_grad()
def logits(
    model: nn.Module,
    images: Float[Tensor, "count ..."],
    chunk: int = 500,
    bfloat16: bool = False,
) -> Float[Tensor, "count classes"]:
    """The model's answers in evaluation mode, computed `chunk` images at a time."""
    was_training = model.training
    model.eval()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        answers = torch.cat([model(part).float() for part in images.split(chunk)])
    model.train(was_training)
    return answers


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


def _train_epoch(
    model: nn.Module,
    train: Batch,
    config: TrainingConfig,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    augment: Augment | None,
    generator: torch.Generator,
) -> float:
    model.train()
    losses = []
    for batch in _shuffled(train, config.batch_size, generator):
        images = batch.images if augment is None else augment(batch.images, generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            answers = model(images).float()
        loss = F.cross_entropy(answers, batch.labels, label_smoothing=config.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def _shuffled(batch: Batch, size: int, generator: torch.Generator) -> Iterator[Batch]:
    for chosen in torch.randperm(len(batch.labels), generator=generator).split(size):
        yield Batch(batch.images[chosen], batch.labels[chosen])


def _one_cycle(steps: int, warmup: float) -> Callable[[int], float]:
    """A linear rise to 1 over the first `warmup` of the steps, then half a cosine down to 0."""
    rise = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))

    return factor


def _epochs_since_best(history: list[EpochRecord]) -> int:
    scores = [record.validation_accuracy for record in history]
    return len(scores) - 1 - scores.index(max(scores))
