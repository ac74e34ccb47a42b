"""BERT-of-Theseus: parts of a model are replaced by chance while it is at work, until all are new.

    y_m = r_m succ_m(x) + (1 - r_m) prd_m(x)       r_m ~ Bernoulli(p), for each part and each batch
    p(t) constant, or min(1, k t + b)              linear: from few replacements to all

There is no loss between teacher and student: the successor learns from the labels what its
predecessor did in its place, with the rest of the model around it. Predecessors and what is shared
(embeddings, heads) are frozen. With p of 0 the model is the teacher, with 1 the student; that is
then fine-tuned by itself. E of the number of replaced parts is p times their number.

Source    Xu et al., "BERT-of-Theseus: Compressing BERT by Progressive Module Replacing", EMNLP
          2020, arXiv:2002.02925, sections 3.1 to 3.4.
Differs   What is frozen runs in eval: no dropout, and no statistics of batch norms that move. Parts
          of any model, not of BERT alone.
Left out  Replacement rates that depend on the part.
Read      ../loop.py first.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reference import walk
from reference.distillation.loop import Epoch, LoopConfig, Objective, distill_
from reference.distillation.progressive.stacking import place_
from reference.pruning.structured.transformer_config import describe_
from reference.pruning.structured.transformer_families import FAMILIES

Schedule = Callable[[float], float]  # progress from 0 to 1 -> p


def constant(rate: float) -> Schedule:
    """Raises ValueError: a rate that is not above 0 and within 1, so that nothing is learnt."""
    if not 0 < rate <= 1:
        raise ValueError(f"a replacement rate must be above 0 and at most 1, got {rate}")
    return lambda progress: rate


def linear(start: float, full_at: float) -> Schedule:
    """From `start` to 1, which is reached at that progress.

    Raises:
        ValueError: the start is not within 0 and 1, or full_at not above 0 and within 1.
    """
    if not 0 <= start <= 1:
        raise ValueError(f"a replacement rate must start within 0 and 1, got {start}")
    if not 0 < full_at <= 1:
        raise ValueError(f"full_at must be above 0 and at most 1, got {full_at}")
    return lambda progress: min(1.0, start + (1 - start) * progress / full_at)


class Part(nn.Module):
    """Consecutive modules of the teacher, and the one module that is to do their work."""

    def __init__(self, predecessors: Sequence[nn.Module], successor: nn.Module) -> None:
        super().__init__()
        self.predecessors = nn.ModuleList(predecessors)
        self.successor = successor
        self.rate = 0.0
        # Of no elements: where chance replaces no part of a model, a loss can still be derived.
        self.anchor = nn.Parameter(torch.zeros(0))

    def forward(self, x: Tensor, *rest: Any, **named: Any) -> Tensor:
        if not self.training or bool(torch.rand(()) < self.rate):
            return self.successor(x, *rest, **named)
        x = x + self.anchor.sum()
        for module in self.predecessors:
            x = module(x, *rest, **named)
        return x


class Theseus(nn.Module):
    """A copy of the teacher with parts that may be replaced; in eval all are.

    Args:
        container: the name of the Sequential or ModuleList whose entries are replaced.
        successors: copies of these are trained. They share the entries out evenly.

    Raises:
        ValueError: no such list, or entries that do not divide into as many parts.
    """

    def __init__(self, teacher: nn.Module, container: str, successors: Sequence[nn.Module]) -> None:
        super().__init__()
        self.model = copy.deepcopy(teacher).requires_grad_(False)
        self.container = container
        found = self.model.get_submodule(container)
        if not isinstance(found, nn.Sequential | nn.ModuleList):
            raise ValueError(f"{container!r} is {type(found).__name__}; expected a list of modules")
        old = list(found)
        if not successors or len(old) % len(successors):
            raise ValueError(f"{len(old)} modules do not divide into {len(successors)} parts")
        share = len(old) // len(successors)
        self.parts = [
            Part(old[i * share : (i + 1) * share], copy.deepcopy(each).requires_grad_(True))
            for i, each in enumerate(successors)
        ]
        for i, part in enumerate(self.parts):
            place_(part.successor, i * share)  # where a cache expects the part's first module
        walk.replace_(self.model, container, _list_like(found, self.parts))

    @property
    def rate(self) -> float:
        return self.parts[0].rate

    @rate.setter
    def rate(self, rate: float) -> None:
        for part in self.parts:
            part.rate = rate

    def forward(self, *args: Any, **named: Any) -> Any:
        return self.model(*args, **named)

    def train(self, mode: bool = True) -> "Theseus":
        super().train(False)
        self.training = mode
        for part in self.parts:
            part.training = mode
            part.successor.train(mode)
        return self

    def student(self) -> nn.Module:
        """The model with the successors in place: what is fine-tuned, every parameter of it."""
        found = copy.deepcopy(self.model).requires_grad_(True)
        old = found.get_submodule(self.container)
        successors = [part.successor for part in old]
        for place, successor in enumerate(successors):
            place_(successor, place)
        walk.replace_(found, self.container, _list_like(old, successors))
        return describe_(found.train()) if type(found).__name__ in FAMILIES else found.train()


def replace_by_chance_(
    theseus: Theseus, schedule: Schedule, objective: Objective, epoch: Epoch, config: LoopConfig
) -> list[float]:
    """Train the successors in place; the loss of every step.

    Raises:
        ValueError: as `distill_`, as where p is 0 for all parts and nothing can be learnt.
    """

    def after_step(step: int) -> None:
        theseus.rate = schedule((step + 1) / max(config.steps - 1, 1))

    theseus.rate = schedule(0.0)
    return distill_(theseus, None, objective, epoch, config, after_step=after_step)


def _list_like(old: nn.Module, modules: Sequence[nn.Module]) -> nn.Module:
    return nn.Sequential(*modules) if isinstance(old, nn.Sequential) else nn.ModuleList(modules)
