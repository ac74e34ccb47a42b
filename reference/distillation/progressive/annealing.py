"""Annealing-KD: logits that begin small and grow into the teacher's, then labels alone.

    first stage     L = mean_c (z_c - phi(T) v_c)^2        z the student's logits, v the teacher's
                    phi(T) = 1 - (T - 1) / T_max           T from T_max down to 1: 1/T_max to 1
    second stage    L = -log softmax(z)_y

A target divided by a temperature is smoother, and easier for a small network; each target is a
little sharper than the one before. It is regression all along, so no temperature divides z.

Source    Jafari et al., "Annealing Knowledge Distillation", EACL 2021, arXiv:2104.07163, section 3.
Differs   T falls in steps of equal length over the first stage; the paper counts epochs for each.
Left out  The choice of T_max and of the best epoch by a validation set.
Read      ../loop.py first.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from reference.distillation.loop import Epoch, LoopConfig, distill_
from reference.distillation.outputs import IGNORED, Batch, Outputs


@dataclass(frozen=True)
class AnnealedLogits:
    """The objective of the first stage.

    Raises:
        ValueError: the highest temperature is below 1.
    """

    max_temperature: int

    def __post_init__(self) -> None:
        if self.max_temperature < 1:
            raise ValueError(f"max_temperature must be at least 1, got {self.max_temperature}")

    def temperature(self, progress: float) -> int:
        """T_max at 0, 1 at 1, and each value for an equal share of the time."""
        return max(self.max_temperature - int(progress * self.max_temperature), 1)

    def factor(self, progress: float) -> float:
        """phi: the share of the teacher's logits that is aimed at."""
        return (self.max_temperature - self.temperature(progress) + 1) / self.max_temperature

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        """
        Raises:
            ValueError: there is no teacher, or nothing has a label.
        """
        if teacher is None:
            raise ValueError("annealed logits need a teacher, got none")
        learnt = batch.labels != IGNORED
        if not learnt.any():
            raise ValueError(f"nothing in the batch has a label other than {IGNORED}")
        aim = self.factor(progress) * teacher.logits[learnt]
        return F.mse_loss(student.logits[learnt], aim)


class Annealed(NamedTuple):
    """The losses of each stage, step by step."""

    regression: list[float]
    classification: list[float]


def anneal_(
    student: nn.Module,
    teacher: nn.Module,
    epoch: Epoch,
    max_temperature: int,
    regression: LoopConfig,
    classification: LoopConfig,
) -> Annealed:
    """Both stages, in place; the second does not look at the teacher.

    Raises:
        ValueError: as `AnnealedLogits` and `distill_`.
    """
    aimed = distill_(student, teacher, AnnealedLogits(max_temperature), epoch, regression)
    return Annealed(aimed, distill_(student, None, labels_alone, epoch, classification))


def labels_alone(
    student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
) -> Tensor:
    """Cross-entropy with the labels that are not IGNORED."""
    return F.cross_entropy(student.logits.flatten(0, -2), batch.labels.flatten())
