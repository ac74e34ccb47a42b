"""Hard and soft: the labels and the teacher, weighed against each other.

    L = (1 - a) H(y, q) + a D(p, q)              D of soft_labels.py, with its temperature

At a = 0 the teacher is not asked, and training is what it is without one, bit for bit. At a = 1
labels are only looked at for where they are, never for what they say.

Source    Hinton, Vinyals, Dean, 2015, arXiv:1503.02531, section 2.
Differs   a and T may change with the progress.
Left out  Weights for each example (Tang et al. 2020, arXiv:2002.03532, says what they do).
Read      soft_labels.py, schedules.py.
"""

from dataclasses import dataclass

from torch import Tensor

from reference.distillation.outputs import Batch, Outputs
from reference.distillation.response.schedules import Value, at
from reference.distillation.response.soft_labels import (
    Divergence,
    hard_loss,
    learnt,
    soft_divergence,
)


@dataclass(frozen=True)
class HardAndSoft:
    alpha: Value = 0.5  # the teacher's share, within 0 and 1
    temperature: Value = 4.0
    soft: Divergence = soft_divergence

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        """
        Raises:
            ValueError: alpha is outside [0, 1], there is no teacher where it counts, or as `soft`
                and `hard_loss`.
        """
        alpha = at(self.alpha, progress)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be within 0 and 1, got {alpha} at progress {progress}")
        if alpha == 0:
            return hard_loss(student.logits, batch.labels)
        z, v, _ = learnt(student, teacher, batch)
        soft = self.soft(z, v, at(self.temperature, progress))
        if alpha == 1:
            return soft
        return (1 - alpha) * hard_loss(student.logits, batch.labels) + alpha * soft
