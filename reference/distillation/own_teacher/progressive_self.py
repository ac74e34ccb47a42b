"""PS-KD: labels that the network softens by what it said of the example in the epoch before.

    L = H((1 - a_t) y + a_t p_(t-1)(x), q_t(x))        a_t = a_T t / T
    dL/dz = q - (1 - a_t) y - a_t p_(t-1)

What was said is kept for each example, so an example has a number. An example that was not seen
before is learnt from its label alone. Early answers are poor, and a is small while they are.

Source    Kim et al., "Self-Knowledge Distillation with Progressive Refinement of Targets", ICCV
          2021, arXiv:2006.12000, section 3; a_T of 0.8.
Differs   a grows from step to step; the paper's from epoch to epoch.
Left out  The last epoch's network as the teacher instead of what it said: the same but for
          dropout, batch statistics and distorted inputs, and another forward pass.
Read      ../response/soft_labels.py first.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reference.distillation.outputs import IGNORED, Batch, Outputs
from reference.distillation.response.soft_labels import learnt


@dataclass(frozen=True)
class NumberedBatch(Batch):
    examples: Int[Tensor, " rows"]  # which of the data set each row is


class ProgressiveTargets:
    """An objective without a teacher, for batches whose examples are numbered. It remembers.

    Args:
        examples: how many there are; numbers are below it.
        last_alpha: a_T.

    Raises:
        ValueError: last_alpha is not within 0 and 1, or there are no examples.
    """

    def __init__(self, examples: int, classes: int, last_alpha: float = 0.8) -> None:
        if not 0 <= last_alpha <= 1:
            raise ValueError(f"last_alpha must be within 0 and 1, got {last_alpha}")
        if examples < 1:
            raise ValueError(f"there must be at least 1 example, got {examples}")
        self.last_alpha = last_alpha
        self.said = torch.zeros(examples, classes)  # of each example, the last time
        self.known = torch.zeros(examples, dtype=torch.bool)

    def alpha(self, progress: float) -> float:
        return self.last_alpha * progress

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Float[Tensor, ""]:
        """
        Raises:
            ValueError: examples without numbers, a number that is none of an example, or as
                `learnt`.
        """
        if not isinstance(batch, NumberedBatch):
            raise ValueError(f"examples must be numbered, got a {type(batch).__name__}")
        total = len(self.known)
        if not 0 <= batch.examples.min() <= batch.examples.max() < total:
            numbers = batch.examples.tolist()
            raise ValueError(f"examples are numbered from 0 to {total - 1}, got {numbers}")
        logits, _, labels = learnt(student, student, batch)
        examples = batch.examples[batch.labels != IGNORED]
        loss = F.cross_entropy(logits, self._targets(examples, labels, progress).to(logits))
        self.said[examples] = logits.detach().softmax(-1).to(self.said)
        self.known[examples] = True
        return loss

    def _targets(self, examples: Tensor, labels: Tensor, progress: float) -> Tensor:
        alpha = self.alpha(progress) * self.known[examples].unsqueeze(1)
        return (1 - alpha) * F.one_hot(labels, self.said.shape[1]) + alpha * self.said[examples]
