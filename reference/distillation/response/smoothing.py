"""Label smoothing, the control: a teacher that knows nothing but the label.

What a teacher adds beyond softer targets shows only against targets that are as soft without one.
Of C classes, with u uniform and y the label:

    L = (1 - e) H(y, q) + e H(u, q)                                       e: smoothing
      = H(y', q) = KL(y' || q) + H(y')                  y' = (1 - e) y + e u
      = HardAndSoft(alpha = e, T = 1) + e log C         with a teacher whose logits are all equal

Teacher-free distillation makes y' a virtual teacher: sure of the label with probability a, the rest
shared out, and at a temperature like any teacher:

    p_y = a     p_c = (1 - a) / (C - 1)           L = (1 - w) H(y, q) + w T^2 KL(p^T || q^T)

Source    Szegedy et al. 2016, arXiv:1512.00567, section 7; Yuan et al., "Revisiting Knowledge
          Distillation via Label Smoothing Regularization", CVPR 2020, arXiv:1909.11723, sections 3
          and 4.2 (a at least 0.9, T of 20).
Differs   Yuan et al. raise the temperature of the virtual teacher alone; here of both, as in
          distillation, so that the teacher is the only thing that changed.
Left out  Yuan's other teacher, an earlier copy of the student: own_teacher/ has those.
Read      mixing.py first.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reference.distillation.outputs import IGNORED, Batch, Outputs
from reference.distillation.response.mixing import HardAndSoft
from reference.distillation.response.schedules import Value
from reference.distillation.response.soft_labels import check_labels


@dataclass(frozen=True)
class LabelSmoothing:
    """
    Raises:
        ValueError: the smoothing is not at least 0 and below 1.
    """

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing must be at least 0 and below 1, got {self.smoothing}")

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        """Does not look at the teacher.

        Raises:
            ValueError: as `hard_loss`.
        """
        check_labels(student.logits, batch.labels, "student")
        return F.cross_entropy(
            student.logits.flatten(0, -2),
            batch.labels.flatten(),
            ignore_index=IGNORED,
            label_smoothing=self.smoothing,
        )


@dataclass(frozen=True)
class TeacherFree:
    """Distillation from the virtual teacher; whatever teacher there is is not looked at."""

    correct: float = 0.99  # a
    alpha: Value = 0.5  # w
    temperature: Value = 20.0

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        """
        Raises:
            ValueError: as `virtual_teacher` and `HardAndSoft`.
        """
        virtual = virtual_teacher(batch.labels, student.logits.shape[-1], self.correct)
        answer = Outputs(virtual.to(student.logits.dtype))
        mixed = HardAndSoft(self.alpha, self.temperature)
        return mixed(student, answer, batch, progress)


def virtual_teacher(
    labels: Int[Tensor, "*positions"], classes: int, correct: float
) -> Float[Tensor, "*positions classes"]:
    """Logits (log-probabilities) of a teacher that is right with probability `correct`.

    Raises:
        ValueError: fewer than two classes, or a probability that is not more than chance and
            below 1.
    """
    if classes < 2:
        raise ValueError(f"a virtual teacher needs at least two classes, got {classes}")
    if not 1 / classes < correct < 1:
        raise ValueError(f"correct must be between {1 / classes:.3g} and 1, got {correct}")
    right = F.one_hot(labels.masked_fill(labels == IGNORED, 0), classes).bool()
    rest = math.log((1 - correct) / (classes - 1))
    return torch.where(right, math.log(correct), rest)
