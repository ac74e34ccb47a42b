"""DIST: predictions that go up and down with the teacher's, though not by as much.

A student that is much weaker cannot match probabilities, but can have them in relation: of the
classes of one example, and of the examples for one class. With r Pearson's correlation, and P, Q
the probabilities (examples x classes) of teacher and student:

    inter    mean over examples of 1 - r(Q_i, P_i)
    intra    mean over classes  of 1 - r(Q'_c, P'_c)
    L        H(y, q) + beta inter + gamma intra

1 - r(u, v) stays the same when u becomes a u + b with a > 0. It is within 0 and 2, and 1 where one
of the two is constant.

Source    Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022,
          arXiv:2205.10536, section 3; beta and gamma of 1: section 4.
Differs   No factor of T^2, which the authors' code for classification has: a correlation does not
          fall with T. Rows that are constant up to rounding have no gradient; the authors add 1e-8.
Left out  Relations of segmentation maps; sigmoid outputs.
Read      standardise.py, whose directions make correlations.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from reference.distillation.outputs import Batch, Outputs
from reference.distillation.response.soft_labels import hard_loss, learnt
from reference.distillation.response.standardise import directions


def pearson_distance(
    student: Float[Tensor, "rows columns"], teacher: Float[Tensor, "rows columns"]
) -> Float[Tensor, ""]:
    """The mean over rows of 1 - r."""
    return 1 - (directions(student) * directions(teacher)).sum(-1).mean()


@dataclass(frozen=True)
class DIST:
    inter: float = 1.0  # beta
    intra: float = 1.0  # gamma
    temperature: float = 1.0
    hard: float = 1.0  # the weight of the labels

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        """
        Raises:
            ValueError: one example alone, which has no relation to others, student and teacher of
                different classes, or as `learnt` and `hard_loss`.
        """
        z, v, _ = learnt(student, teacher, batch)
        if z.shape != v.shape:
            raise ValueError(f"classes must be the same, got {z.shape[-1]} and {v.shape[-1]}")
        if len(z) < 2:
            raise ValueError(f"DIST relates at least two examples, got {len(z)}; drop the last")
        q, p = ((each / self.temperature).softmax(-1) for each in (z, v))
        loss = self.hard * hard_loss(student.logits, batch.labels)
        return loss + self.inter * pearson_distance(q, p) + self.intra * pearson_distance(q.T, p.T)
