"""DKD: how sure of the label, and what of the other classes, weighed apart.

The divergence of soft labels has two parts, and the second is faint exactly where a teacher is
sure, so where it is right. Of p_t, the teacher's probability of the label t at temperature T:

    KL(p || q) = TCKD + (1 - p_t) NCKD
    TCKD       KL of (p_t, 1 - p_t) against (q_t, 1 - q_t)
    NCKD       KL of p and q over the classes other than t, each made to add up to 1

    L = H(y, q) + w T^2 (alpha TCKD + beta NCKD)             w rises from 0 to 1, then stays

Both parts are divergences of logits again: t against log-sum-exp of the rest, and the rest alone.
So no probability is rounded to 0 before its logarithm is taken.

Source    Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679, sections
          3.1 and 3.2; alpha of 1, beta of 8 and the warm-up of 20 of 240 epochs: section 4.
Differs   The authors' code subtracts 1000 from the logit of t; here t is left out.
Left out  The paper's beta for each pair of networks, which it finds by search.
Read      soft_labels.py first.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reference.distillation.divergences import forward_kl
from reference.distillation.outputs import Batch, Outputs
from reference.distillation.response.soft_labels import hard_loss, learnt


class Decoupled(NamedTuple):
    """In nats, for each position, without T^2."""

    target: Float[Tensor, " positions"]  # TCKD
    others: Float[Tensor, " positions"]  # NCKD
    doubt: Float[Tensor, " positions"]  # 1 - p_t


def decoupled(
    student: Float[Tensor, "positions classes"],
    teacher: Float[Tensor, "positions classes"],
    labels: Int[Tensor, " positions"],
    temperature: float = 1.0,
) -> Decoupled:
    """The two parts of KL(p || q).

    Raises:
        ValueError: the temperature is not positive, or one of the two excludes (logits of -inf)
            every class but the label, so that the others have no distribution.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature must be positive, got {temperature}")
    label = F.one_hot(labels, student.shape[-1]).bool()
    z, v = student / temperature, teacher / temperature
    z_others, v_others = (each.masked_fill(label, -math.inf) for each in (z, v))
    if not all(torch.isfinite(each.amax(-1)).all() for each in (z_others, v_others)):
        raise ValueError("a class other than the label must be possible, got logits without one")
    target = forward_kl(_binary(z, label, z_others), _binary(v, label, v_others))
    doubt = _binary(v, label, v_others).softmax(-1)[:, 1]
    return Decoupled(target, forward_kl(z_others, v_others), doubt)


@dataclass(frozen=True)
class DKD:
    target: float = 1.0  # alpha
    others: float = 8.0  # beta
    temperature: float = 4.0
    hard: float = 1.0  # the weight of the labels
    warmup: float = 1 / 12  # share of the progress in which w rises; 0 for none

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        """
        Raises:
            ValueError: as `learnt`, `decoupled` and `hard_loss`.
        """
        parts = decoupled(*learnt(student, teacher, batch), self.temperature)
        soft = (self.target * parts.target + self.others * parts.others).mean()
        share = min(progress / self.warmup, 1.0) if self.warmup else 1.0
        hard = self.hard * hard_loss(student.logits, batch.labels)
        return hard + share * self.temperature**2 * soft


def _binary(logits: Tensor, label: Tensor, others: Tensor) -> Tensor:
    return torch.stack([logits[label], others.logsumexp(-1)], -1)
