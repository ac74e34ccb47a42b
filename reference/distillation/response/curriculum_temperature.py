"""CTKD: a temperature for each example, learnt against the student, harder and harder.

A small network looks at both answers to an example and names a temperature. It is trained to make
the student's loss larger, by a gradient that is turned round; how strongly rises with the progress,
so that targets begin easy.

    T(z, v) = T_least + T_range sigmoid(g(z, v))
    L       = (1 - a) H(y, q) + a T^2 KL(p^T || q^T)
    student   goes down  dL/d student
    g         goes up    s(p) dL/dg           s(p) = (1 - cos(pi min(p / ramp, 1))) / 2

Nothing of the student's gradient passes through g: it is that of distillation with these T.

Source    Li et al., "Curriculum Temperature for Knowledge Distillation", AAAI 2023,
          arXiv:2211.16231, sections 3.2 and 3.3; the turned gradient: Ganin and Lempitsky 2015,
          arXiv:1409.7495.
Differs   The authors' student also has a gradient through its logits into g. g sees
          probabilities, which excluded classes do not make infinite, and has one hidden layer.
Left out  One temperature for all examples; mixing.py has schedules for that.
Read      soft_labels.py, whose divergences take a temperature for each position.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.distillation.outputs import Batch, Outputs
from reference.distillation.response.soft_labels import hard_loss, learnt, soft_divergence


class CurriculumTemperature(nn.Module):
    """An objective with parameters: they train with the student, and stay behind.

    Raises:
        ValueError: alpha outside [0, 1], temperatures that are not positive, or no ramp.
    """

    def __init__(
        self,
        classes: int,
        alpha: float = 0.9,
        least: float = 1.0,
        span: float = 20.0,
        ramp: float = 1 / 24,  # share of the progress; the paper's 10 of 240 epochs
        hidden: int = 32,
    ) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be within 0 and 1, got {alpha}")
        if not (least > 0 and span > 0):
            raise ValueError(f"temperatures must be positive, got least {least} and span {span}")
        if not 0 < ramp <= 1:
            raise ValueError(f"ramp must be a share of the progress, got {ramp}")
        self.alpha, self.least, self.span, self.ramp = alpha, least, span, ramp
        self.network = nn.Sequential(
            nn.Linear(2 * classes, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def temperatures(
        self,
        student: Float[Tensor, "positions classes"],
        teacher: Float[Tensor, "positions classes"],
    ) -> Float[Tensor, " positions"]:
        """T of each position. No gradient reaches the logits."""
        seen = [each.detach().softmax(-1) for each in (student, teacher)]
        return self.least + self.span * self.network(torch.cat(seen, -1)).squeeze(-1).sigmoid()

    def strength(self, progress: float) -> float:
        """s: 0 at the start, 1 from the end of the ramp on."""
        return (1 - math.cos(math.pi * min(progress / self.ramp, 1.0))) / 2

    def forward(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        """
        Raises:
            ValueError: as `learnt`, `soft_divergence` and `hard_loss`.
        """
        z, v, _ = learnt(student, teacher, batch)
        temperature = _Turned.apply(self.temperatures(z, v), self.strength(progress))
        soft = soft_divergence(z, v, temperature)
        return (1 - self.alpha) * hard_loss(student.logits, batch.labels) + self.alpha * soft


class _Turned(torch.autograd.Function):
    """The value as it is; its gradient times minus the strength."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None
