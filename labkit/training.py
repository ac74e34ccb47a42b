"""The one training loop of the course: one cosine cycle, the best validation epoch wins.

What is learned is a task (labkit.tasks): it gives the loss of chosen rows and the score on
validation. A technique that trains (distillation, pruning, quantization) brings a task of its own.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from jaxtyping import Int
from torch import Tensor, nn
from tqdm.auto import tqdm


@dataclass(frozen=True)
class TrainingConfig:
    epochs: int = 30
    batch_size: int = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"  # sgd with Nesterov momentum
    learning_rate: float = 0.2  # the peak, reached after `warmup` of all steps
    warmup: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4  # AdamW spares biases, norms and embeddings; SGD spares nothing
    clip_norm: float | None = None  # the longest gradient that a step follows
    patience: int | None = None  # epochs without a better validation score before stopping
    bfloat16: bool = False  # autocast: several times faster where the CPU has AMX or AVX512-BF16
    seed: int = 0


@dataclass(frozen=True)
class EpochRecord:
    epoch: int
    train_loss: float
    validation_score: float  # of the task's metric; higher is better


class Task(Protocol):
    """What a model learns."""

    @property
    def rows(self) -> int:
        """How many training rows there are."""

    def loss(
        self, model: nn.Module, chosen: Int[Tensor, " batch"], generator: torch.Generator
    ) -> Tensor:
        """The mean loss of the chosen training rows, with what randomness they need."""

    def score(self, model: nn.Module) -> float:
        """How good the model is on validation; higher is better."""


def fit(model: nn.Module, task: Task, config: TrainingConfig) -> list[EpochRecord]:
    """Train in place, and leave the weights of the best validation epoch.

    The same every time on one machine and thread count: every draw comes from `config.seed`,
    dropout's too.
    """
    generator = torch.Generator().manual_seed(config.seed)
    torch.manual_seed(config.seed)  # dropout draws from the global generator
    optimizer = _optimizer(model, config)
    steps = config.epochs * math.ceil(task.rows / config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _one_cycle(steps, config.warmup))
    history: list[EpochRecord] = []
    best_state = copy.deepcopy(model.state_dict())
    epochs = tqdm(range(config.epochs), desc="training", unit="epoch")
    for epoch in epochs:
        loss = _train_epoch(model, task, config, optimizer, schedule, generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            record = EpochRecord(epoch, loss, task.score(model))
        epochs.set_postfix(loss=f"{loss:.3f}", validation=f"{record.validation_score:.4f}")
        if all(record.validation_score > past.validation_score for past in history):
            best_state = copy.deepcopy(model.state_dict())
        history.append(record)
        if config.patience is not None and _epochs_since_best(history) >= config.patience:
            break
    model.load_state_dict(best_state)
    return history


def _train_epoch(
    model: nn.Module,
    task: Task,
    config: TrainingConfig,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    generator: torch.Generator,
) -> float:
    model.train()
    losses = []
    order = torch.randperm(task.rows, generator=generator)
    for chosen in order.split(config.batch_size):
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            loss = task.loss(model, chosen, generator)
        optimizer.zero_grad()
        loss.backward()
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def _optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            learned,
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=True,
        )
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decayed = [p for p in learned if p.dim() > 1 and id(p) not in embeddings]
    spared = [p for p in learned if p.dim() <= 1 or id(p) in embeddings]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.98))


def _one_cycle(steps: int, warmup: float) -> Callable[[int], float]:
    """A linear rise to 1 over the first `warmup` of the steps, then half a cosine down to 0."""
    rise = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))

    return factor


def _epochs_since_best(history: list[EpochRecord]) -> int:
    scores = [record.validation_score for record in history]
    return len(scores) - 1 - scores.index(max(scores))
