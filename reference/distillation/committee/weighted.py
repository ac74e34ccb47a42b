"""Several teachers, each with its own weight on each example: what the weightings here share.

    L = (1 - a) CE(q, y) + a mean over n of sum_k w_kn T^2 KL(p_kn || q_n)         sum_k w_kn = 1

A weighting is a function of what everybody says: confidence.py, routing.py, adaptive_ensemble.py.
By sum_k w_k KL(p_k || q) = KL(sum_k w_k p_k || q) + a term without q, the student learns what it
would from one teacher that mixes the others' probabilities with these weights. With one teacher it
is ../response/mixing.py, bit for bit.

Source    You et al., "Learning from Multiple Teacher Networks", KDD 2017; the identity
          is that of the Jensen-Shannon divergence, Lin 1991.
Read      ../response/soft_labels.py first. average.py has the mixtures themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reference.distillation.divergences import forward_kl
from reference.distillation.outputs import Batch, Outputs
from reference.distillation.response.soft_labels import hard_loss, learnt

ALLOWED = 1e-4  # how far from 1 weights may add up: float32 over a few teachers


class Voices(NamedTuple):
    """What student and teachers say at the positions that have a label."""

    student: Float[Tensor, "learnt classes"]
    teachers: Float[Tensor, "teachers learnt classes"]
    labels: Int[Tensor, " learnt"]


Weights = Callable[[Voices], Float[Tensor, "teachers _"]]


def committee_logits(student: Outputs, teacher: Outputs | None) -> Tensor:
    """(teachers, *positions, classes).

    Raises:
        ValueError: the teacher is no committee.
    """
    if teacher is None or teacher.logits.ndim != student.logits.ndim + 1:
        raise ValueError("several teachers are a committee, whose logits have an axis more")
    return teacher.logits


def voices(student: Outputs, teacher: Outputs | None, batch: Batch) -> Voices:
    """
    Raises:
        ValueError: the teacher is no committee, or as `learnt`.
    """
    said = committee_logits(student, teacher)
    each = [learnt(student, Outputs(one), batch) for one in said]
    return Voices(each[0].student, torch.stack([one.teacher for one in each]), each[0].labels)


def uniform(voices: Voices) -> Float[Tensor, "teachers _"]:
    teachers = voices.teachers
    return teachers.new_full((len(teachers), 1), 1 / len(teachers))


def weighted_divergence(
    voices: Voices, weights: Float[Tensor, "teachers _"], temperature: float
) -> Float[Tensor, ""]:
    """mean_n sum_k w_kn T^2 KL(p_kn || q_n).

    Raises:
        ValueError: weights below 0 or that do not add up to 1, or a temperature not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature must be above 0, got {temperature}")
    total = weights.sum(0)
    if (weights < 0).any() or not torch.allclose(total, torch.ones_like(total), atol=ALLOWED):
        raise ValueError(f"weights of teachers must be at least 0 and add up to 1, got {weights}")
    student = voices.student / temperature
    each = torch.stack([forward_kl(student, said / temperature) for said in voices.teachers])
    return (weights * (temperature**2 * each)).sum(0).mean()


@dataclass(frozen=True)
class WeightedTeachers:
    """An objective of `distill_`, whose teacher is a `Committee`.

    Raises:
        ValueError: alpha is not within 0 and 1.
    """

    weights: Weights
    temperature: float = 4.0
    alpha: float = 0.5  # a, the teachers' share

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be within 0 and 1, got {self.alpha}")

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Float[Tensor, ""]:
        """
        Raises:
            ValueError: as `voices` and `weighted_divergence`.
        """
        heard = voices(student, teacher, batch)
        soft = weighted_divergence(heard, self.weights(heard).detach(), self.temperature)
        return (1 - self.alpha) * hard_loss(student.logits, batch.labels) + self.alpha * soft
