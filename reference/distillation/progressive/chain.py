"""Teacher assistants: a large gap in several small ones.

    T -> A_1 -> ... -> A_n -> S             each learns from the one before, and then teaches
    size(A_i) = T (S / T)^(i / (n + 1))     geometric: each is smaller by the same factor

A student that is much smaller than its teacher can learn less from it than from a worse one of
about its size. A chain of length 1 is plain distillation, bit for bit. What a chain gains is
usually smaller than what a seed changes, and it costs more: compute.py compares at equal compute.

Source    Mirzadeh et al., "Improved Knowledge Distillation via Teacher Assistant", AAAI 2020,
          arXiv:1902.03393 (assistants; chains of several). That a teacher stopped early teaches
          better: Cho and Hariharan, "On the Efficacy of Knowledge Distillation", ICCV 2019,
          arXiv:1910.01348, section 4.3.
Differs   The paper looks for the best size of an assistant; a geometric schedule needs no search.
Left out  Choosing how many assistants there are (the paper's search over paths).
Read      ../loop.py first. dense_guidance.py lets all larger models teach.
"""

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import nn

from reference import walk
from reference.distillation.loop import Epoch, LoopConfig, Objective, Taps, distill_

NO_TAPS = Taps()


@dataclass(frozen=True)
class Stage:
    student: nn.Module  # trained in place
    objective: Objective
    config: LoopConfig
    taps: Taps = NO_TAPS


@dataclass(frozen=True)
class EarlyStop:
    """Look at a score every so many steps, and keep the best state.

    Raises:
        ValueError: a number below 1.
    """

    score: Callable[[nn.Module], float]  # in eval; higher is better; on data that is not trained on
    every_steps: int
    patience: int  # looks without an improvement, after which the stage ends

    def __post_init__(self) -> None:
        for name in ("every_steps", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Learnt:
    steps: int  # that were taken
    scores: tuple[float, ...] = ()  # at each look
    best_step: int | None = None  # whose state the student has; None without early stopping


def geometric_sizes(teacher: float, student: float, assistants: int) -> tuple[float, ...]:
    """The sizes of the assistants between two sizes, from large to small.

    Raises:
        ValueError: not teacher > student > 0, or fewer than 0 assistants.
    """
    if not teacher > student > 0:
        raise ValueError(f"expected teacher > student > 0, got {teacher} and {student}")
    if assistants < 0:
        raise ValueError(f"there must be at least 0 assistants, got {assistants}")
    factor = (student / teacher) ** (1 / (assistants + 1))
    return tuple(teacher * factor**i for i in range(1, assistants + 1))


def chain_(
    teacher: nn.Module, stages: Sequence[Stage], epoch: Epoch, stop: EarlyStop | None = None
) -> tuple[Learnt, ...]:
    """Train the student of every stage in place, each with the one before it as its teacher.

    Raises:
        ValueError: no stages, a model that occurs twice, or as `distill_`.
    """
    models = check_chain(teacher, stages)
    return tuple(
        train_stage_(above, stage, epoch, stop)
        for above, stage in zip(models, stages, strict=False)
    )


def check_chain(teacher: nn.Module, stages: Sequence[Stage]) -> list[nn.Module]:
    """The models of a chain from the largest on.

    Raises:
        ValueError: no stages, or a model that occurs twice.
    """
    models = [teacher, *(stage.student for stage in stages)]
    if len(models) == 1:
        raise ValueError("a chain needs at least one stage, got none")
    if len({id(model) for model in models}) < len(models):
        raise ValueError("the models of a chain must be distinct; one would be its own teacher")
    return models


def train_stage_(
    teacher: nn.Module, stage: Stage, epoch: Epoch, stop: EarlyStop | None = None
) -> Learnt:
    """One student and one teacher, or a committee of them. With `stop` the best state is kept.

    Raises:
        ValueError: as `distill_`.
    """
    if stop is None:
        losses = _distill_(teacher, stage, epoch, lambda step: None)
        return Learnt(len(losses))
    looks = _Looks(stage.student, stop, stage.config.steps)
    with suppress(_Enough):
        _distill_(teacher, stage, epoch, looks.after_step)
    stage.student.load_state_dict(looks.best_state)
    return Learnt(looks.steps, tuple(looks.scores), looks.best_step)


def _distill_(
    teacher: nn.Module, stage: Stage, epoch: Epoch, after_step: Callable[[int], None]
) -> list[float]:
    student, objective, config = stage.student, stage.objective, stage.config
    return distill_(student, teacher, objective, epoch, config, stage.taps, after_step)


class _Enough(Exception):
    """The score has not improved for long enough; it leaves the loop of distill_."""


class _Looks:
    def __init__(self, student: nn.Module, stop: EarlyStop, steps: int) -> None:
        self.student, self.stop, self.last = student, stop, steps
        self.steps, self.best_step = 0, 0
        self.scores: list[float] = []
        self.best_state = copy.deepcopy(student.state_dict())

    def after_step(self, step: int) -> None:
        self.steps = step + 1
        if self.steps % self.stop.every_steps and self.steps < self.last:
            return
        with walk.evaluating(self.student), torch.no_grad(), torch.random.fork_rng(devices=[]):
            score = float(self.stop.score(self.student))
        if not math.isfinite(score):
            raise ValueError(f"the score is {score} after {self.steps} steps; expected a number")
        if score > max(self.scores, default=float("-inf")):
            self.best_step = self.steps
            self.best_state = copy.deepcopy(self.student.state_dict())
        self.scores.append(score)
        since = len(self.scores) - 1 - self.scores.index(max(self.scores))
        if since >= self.stop.patience:
            raise _Enough
