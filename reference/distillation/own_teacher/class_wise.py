"""CS-KD: a network says of an example what it says of another one of the same class.

    L = CE(q(x), y) + b T^2 KL(q(x') || q(x))          x' another example of the class y, a target

The wrong classes that two examples of a class share are what the class is like; those of one alone
are what the network has memorised. The target is the network itself, at this moment, without a
gradient.

Source    Yun et al., "Regularizing Class-wise Predictions via Self-knowledge Distillation", CVPR
          2020, arXiv:2003.13964, section 2; T of 4, b of 1 to 3.
Differs   x and x' go through the network in one batch, and share its batch statistics; the paper
          asks for x' in a pass of its own. x' is never x where there is a choice.
Left out  Other regularisers of the paper's comparison.
Read      ../response/soft_labels.py first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reference.distillation.loop import Epoch
from reference.distillation.outputs import Batch, Outputs
from reference.distillation.response.soft_labels import hard_loss, learnt, soft_divergence


def partners(labels: Int[Tensor, " rows"], generator: torch.Generator) -> Int[Tensor, " rows"]:
    """For each row another of its class, by lot; the row itself where the class has no other."""
    found = torch.arange(len(labels))
    for label in labels.unique():
        rows = (labels == label).nonzero().flatten()
        if len(rows) > 1:
            ahead = torch.randint(1, len(rows), (len(rows),), generator=generator)
            found[rows] = rows[(torch.arange(len(rows)) + ahead) % len(rows)]
    return found


def pairs(
    inputs: Float[Tensor, "rows ..."], labels: Int[Tensor, " rows"], batch_rows: int
) -> Epoch:
    """An epoch for `distill_`: every row once, in the first half of a batch, and partners behind.

    Raises:
        ValueError: fewer than 1 row for each batch.
    """
    if batch_rows < 1:
        raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")

    def epoch(generator: torch.Generator) -> Iterator[Batch]:
        others = partners(labels, generator)
        for rows in torch.randperm(len(labels), generator=generator).split(batch_rows):
            both = torch.cat([rows, others[rows]])
            yield Batch(inputs[both], labels[both])

    return epoch


@dataclass(frozen=True)
class ClassWise:
    """An objective without a teacher, for batches as `pairs` makes them.

    Raises:
        ValueError: a weight below 0.
    """

    temperature: float = 4.0
    soft_weight: float = 1.0  # b

    def __post_init__(self) -> None:
        if self.soft_weight < 0:
            raise ValueError(f"soft_weight must be at least 0, got {self.soft_weight}")

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Float[Tensor, ""]:
        """
        Raises:
            ValueError: halves of a batch whose labels differ, or as `learnt`.
        """
        half = len(batch.labels) // 2
        first, second = batch.labels[:half], batch.labels[half:]
        if not torch.equal(first, second):
            raise ValueError(
                f"the halves of a batch must have the same labels, got {first.tolist()} "
                f"and {second.tolist()}"
            )
        own, other = Outputs(student.logits[:half]), Outputs(student.logits[half:].detach())
        said = learnt(own, other, Batch(batch.inputs, first))
        soft = soft_divergence(said.student, said.teacher, self.temperature)
        return hard_loss(own.logits, first) + self.soft_weight * soft
