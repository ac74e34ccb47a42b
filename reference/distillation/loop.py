"""The one training loop of all distillers.

The teacher runs in eval mode and without gradients. What a distiller trains beside the student
(regressors, gates) are parameters of the objective: they are trained with it, and stay behind.

    lr(t) = lr min(t / warmup, (1 + cos(pi (t - warmup) / (steps - warmup))) / 2)

Source    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015,
          arXiv:1503.02531, section 2; the cycle: Loshchilov and Hutter 2017, arXiv:1608.03983.
Left out  Teachers whose answers were written to disk; labkit.training's choice of an epoch by its
          validation score (steps are counted here, so that two ways to train cost the same).
Read      outputs.py first.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn

from reference.distillation.outputs import Batch, Outputs, observe, taught

Epoch = Callable[[torch.Generator], Iterable[Batch]]  # one pass over the data, in a drawn order


# A distiller: student, teacher (None where there is none), batch, progress from 0 to 1 -> a scalar.
# One that is an nn.Module has its parameters trained with the student.
Objective = Callable[[Outputs, Outputs | None, Batch, float], Tensor]


@dataclass(frozen=True)
class LoopConfig:
    steps: int
    learning_rate: float = 1e-3  # the peak
    optimizer: Literal["sgd", "adamw"] = "adamw"  # sgd with Nesterov momentum of 0.9
    weight_decay: float = 0.01  # of tensors with two axes or more
    warmup: float = 0.1  # share of the steps
    clip_norm: float | None = 1.0
    seed: int = 0  # of the order of the data and of whatever the model draws

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a share of the steps below 1, got {self.warmup}")


@dataclass(frozen=True)
class Taps:
    student: Sequence[str] = ()
    teacher: Sequence[str] = ()


def distill_(
    student: nn.Module,
    teacher: nn.Module | None,
    objective: Objective,
    epoch: Epoch,
    config: LoopConfig,
    taps: Taps = Taps(),
    after_step: Callable[[int], None] = lambda step: None,
) -> list[float]:
    """Train the student in place; the loss of every step. The teacher is left as it was.

    The caller's random state is left alone: draws of the model (dropout) and of the data come from
    `config.seed`, so an objective that ignores its teacher trains as if there were none.

    Raises:
        ValueError: an epoch without batches, a loss that is not finite, or taps as in `observe`.
    """
    trained = nn.ModuleList([student, *([objective] if isinstance(objective, nn.Module) else [])])
    optimizer = _optimizer(trained, config)
    cycle = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, config))
    losses: list[float] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        trained.train()
        for step, batch in enumerate(islice(_endless(epoch, config.seed), config.steps)):
            said = None if teacher is None else taught(teacher, batch.inputs, taps.teacher)
            progress = step / max(config.steps - 1, 1)
            answer = observe(student, batch.inputs, taps.student)
            loss = objective(answer, said, batch, progress)
            losses.append(_finite(loss, step))
            optimizer.zero_grad()
            loss.backward()
            if config.clip_norm is not None:
                nn.utils.clip_grad_norm_(trained.parameters(), config.clip_norm)
            optimizer.step()
            cycle.step()
            after_step(step)
    return losses


def _endless(epoch: Epoch, seed: int) -> Iterable[Batch]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        empty = True
        for batch in epoch(generator):
            empty = False
            yield batch
        if empty:
            raise ValueError("an epoch needs at least one batch, got none")


def _finite(loss: Tensor, step: int) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise ValueError(f"the loss is {value} at step {step}: lower the learning rate")
    return value


def _share(step: int, config: LoopConfig) -> float:
    warmup = config.warmup * config.steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (1 + math.cos(math.pi * (step - warmup) / (config.steps - warmup))) / 2


def _optimizer(trained: nn.Module, config: LoopConfig) -> torch.optim.Optimizer:
    parameters = [each for each in trained.parameters() if each.requires_grad]
    groups = [
        {
            "params": [each for each in parameters if each.ndim > 1],
            "weight_decay": config.weight_decay,
        },
        {"params": [each for each in parameters if each.ndim < 2], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True)
