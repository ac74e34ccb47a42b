"""Logit standardisation: the order and spacing of the logits, not their size.

Equal softmax at one temperature asks a small student for logits as large as the teacher's. Taken
less their mean and over their deviation, logits are compared whatever their size:

    Z(x) = (x - mean(x)) / sqrt(mean((x - mean(x))^2))
    L    = T^2 KL(softmax(Z(v) / T) || softmax(Z(z) / T))

That is a temperature for each position and for each network, T times the deviation of its logits.
L does not change when z or v is shifted or multiplied by a > 0, so the size of the student's logits
is left to the labels: keep alpha below 1.

Source    Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024,
          arXiv:2403.01427, section 4 and algorithm 1.
Differs   The authors' code divides by N - 1 and adds 1e-7; here N as in the paper, and logits that
          are equal up to rounding become zeros. Their weights of 0.1 and 9 for labels and teacher
          are alpha of 9 / 9.1 and a learning rate 9.1 times as large.
Read      mixing.py: HardAndSoft(soft=standardised_divergence).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from reference.distillation.response.soft_labels import (
    AsMany,
    Logits,
    Scalar,
    Temperature,
    soft_divergence,
)


def standardised_divergence(
    student: Logits, teacher: AsMany, temperature: Temperature = 2.0
) -> Scalar:
    """Soft labels of standardised logits.

    Raises:
        ValueError: a logit is not finite, or as `soft_divergence`.
    """
    return soft_divergence(standardised(student), standardised(teacher), temperature)


def standardised(logits: Float[Tensor, "*rows columns"]) -> Float[Tensor, "*rows columns"]:
    """Each row with a mean of 0 and a deviation of 1.

    Raises:
        ValueError: a logit is not finite.
    """
    if not torch.isfinite(logits).all():
        raise ValueError("logits contain inf or nan, and have no deviation")
    return math.sqrt(logits.shape[-1]) * directions(logits)


def directions(rows: Float[Tensor, "*rows columns"]) -> Float[Tensor, "*rows columns"]:
    """Each row less its mean, with a length of 1. The product of two is their correlation.

    A row that is constant up to rounding has no direction: zeros, without a gradient.
    """
    centred = rows - rows.mean(-1, keepdim=True)
    length = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
    noise = 4 * torch.finfo(rows.dtype).eps * torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    flat = length <= noise.detach()
    return torch.where(flat, 0.0, centred / length.masked_fill(flat, 1.0))
