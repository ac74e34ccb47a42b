"""Soft labels: what a teacher thinks of every class, at a temperature, and how far a student is.

A teacher's small probabilities say which wrong classes are nearly right. A temperature T makes them
large enough to be learnt from. Of student logits z and teacher logits v, for each position:

    q = softmax(z / T)     p = softmax(v / T)
    soft_divergence        T^2 KL(p || q)               d/dz = T (q - p)
    soft_cross_entropy     T^2 H(p, q) = T^2 (KL(p || q) + H(p)): the same gradient
    jensen_shannon         T^2 (KL(p || m) + KL(q || m)) / 2            m = (p + q) / 2
    total_variation        T sum |p - q| / 2
    logit_mse              T^2 mean_c (z_c / T - v_c / T)^2 = mean_c (z_c - v_c)^2, whatever T

As T grows, p - 1/N falls as 1 / T, and a divergence of second order as 1 / T^2. The factors hold
the gradients where they are, so that T can be changed without weighing anew. In the limit, with
logits that have a mean of zero, T^2 KL -> mean_c (z_c - v_c)^2 / 2: half of logit_mse.

Every loss is the sum over classes and the mean over positions ("batchmean"): a mean over classes
too would make distillation fainter the more classes there are.

Source    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015,
          arXiv:1503.02531, section 2; logits: Ba and Caruana 2014, arXiv:1312.6184; logits against
          KL: Kim et al. 2021, arXiv:2105.08919; total variation of tokens: Wen et al. 2023,
          arXiv:2307.15190.
Differs   T may be one for each position. A class that both exclude (logits of -inf) has neither
          loss nor gradient; torch.nn.functional.kl_div makes it NaN.
Left out  Reverse and skewed divergences, which divergences.py has.
Read      mixing.py, which adds the labels.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reference.distillation.divergences import forward_kl, generalised_jsd
from reference.distillation.outputs import IGNORED, Batch, Outputs

Logits = Float[Tensor, "*positions classes"]
AsMany = Float[Tensor, "..."]  # the same shape
Scalar = Float[Tensor, ""]
Temperature = float | Float[Tensor, "*positions"]  # one for all, or one for each
Divergence = Callable[[Tensor, Tensor, float], Tensor]  # student, teacher, temperature -> scalar


class Learnt(NamedTuple):
    """The positions of a batch that have a label, one after the other."""

    student: Float[Tensor, "learnt classes"]
    teacher: Float[Tensor, "learnt others"]  # others: classes, unless vocabularies differ
    labels: Int[Tensor, " learnt"]


def learnt(student: Outputs, teacher: Outputs | None, batch: Batch) -> Learnt:
    """What both say where the label is not IGNORED. Padding is not there, and counts nowhere.

    Raises:
        ValueError: there is no teacher, shapes disagree, or no position has a label.
    """
    if teacher is None:
        raise ValueError("soft labels need a teacher, got none")
    for who, outputs in (("student", student), ("teacher", teacher)):
        check_labels(outputs.logits, batch.labels, who)
    kept = batch.labels != IGNORED
    return Learnt(student.logits[kept], teacher.logits[kept], batch.labels[kept])


def hard_loss(logits: Logits, labels: Int[Tensor, "..."]) -> Scalar:
    """Cross-entropy with the labels, the mean over those that are not IGNORED.

    Raises:
        ValueError: shapes disagree, or every label is IGNORED.
    """
    check_labels(logits, labels, "student")
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED)


def soft_divergence(student: Logits, teacher: AsMany, temperature: Temperature = 1.0) -> Scalar:
    """T^2 KL(p || q).

    Raises:
        ValueError: shapes disagree, there is no position, or a temperature is not positive.
    """
    return _mean(temperature, 2, forward_kl(*_tempered(student, teacher, temperature)))


def soft_cross_entropy(student: Logits, teacher: AsMany, temperature: Temperature = 1.0) -> Scalar:
    """T^2 H(p, q). Raises ValueError: as `soft_divergence`."""
    z, v = _tempered(student, teacher, temperature)
    p = v.softmax(-1)
    return _mean(temperature, 2, -(p * z.log_softmax(-1).masked_fill(p == 0, 0)).sum(-1))


def jensen_shannon(student: Logits, teacher: AsMany, temperature: Temperature = 1.0) -> Scalar:
    """T^2 JSD(p, q), at most T^2 log 2. Raises ValueError: as `soft_divergence`."""
    return _mean(temperature, 2, generalised_jsd(*_tempered(student, teacher, temperature), 0.5))


def total_variation(student: Logits, teacher: AsMany, temperature: Temperature = 1.0) -> Scalar:
    """T sum |p - q| / 2, at most T. Raises ValueError: as `soft_divergence`."""
    z, v = _tempered(student, teacher, temperature)
    return _mean(temperature, 1, (v.softmax(-1) - z.softmax(-1)).abs().sum(-1) / 2)


def logit_mse(student: Logits, teacher: AsMany, temperature: Temperature = 1.0) -> Scalar:
    """mean_c (z_c - v_c)^2, whatever T. Raises ValueError: as `soft_divergence`."""
    z, v = _tempered(student, teacher, temperature)
    return _mean(temperature, 2, (z - v).square().mean(-1))


def _tempered(student: Tensor, teacher: Tensor, temperature: Temperature) -> tuple[Tensor, Tensor]:
    if student.shape != teacher.shape:
        shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        raise ValueError(
            f"student and teacher must speak of the same classes, got logits {shapes}; "
            "vocabulary.py restricts both to the tokens they share"
        )
    if not student.numel():
        raise ValueError(f"there is nothing to learn from in logits of {tuple(student.shape)}")
    if isinstance(temperature, Tensor):
        _check_temperature(temperature.min().item())
        return student / temperature.unsqueeze(-1), teacher / temperature.unsqueeze(-1)
    _check_temperature(temperature)
    return student / temperature, teacher / temperature


def _mean(temperature: Temperature, power: int, each: Tensor) -> Tensor:
    return (temperature**power * each).mean()


def _check_temperature(lowest: float) -> None:
    if not 0 < lowest < math.inf:
        raise ValueError(f"a temperature must be positive and finite, got {lowest}")


def check_labels(logits: Tensor, labels: Tensor, who: str) -> None:
    if logits.shape[:-1] != labels.shape:
        shapes = f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"every logits of the {who} need one label, got shapes {shapes}")
    if not torch.any(labels != IGNORED):
        raise ValueError(f"nothing in the batch has a label other than {IGNORED}")
