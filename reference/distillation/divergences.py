"""Divergences of two models' next tokens, in nats: one number for each position.

    forward        KL(p || q) = sum_v p log(p / q)           p the teacher's, q the student's
    reverse        KL(q || p)
    generalised    JSD_b = b KL(p || m) + (1 - b) KL(q || m)             m = b p + (1 - b) q
    skew           KL(p || a p + (1 - a) q)
    skew reverse   KL(q || (1 - a) p + a q)

Forward covers whatever the teacher says, reverse keeps to what the student can say. JSD_b is zero
at both ends, where it is a divergence only after division: JSD_b / b -> forward as b -> 0 and
JSD_b / (1 - b) -> reverse as b -> 1. It is at most the entropy of (b, 1 - b), so it stays finite
where a KL does not. Of student logits z, for each position:

    d forward / dz = q - p           d reverse / dz = q (log(q / p) - KL(q || p))

Source    Agarwal et al., "On-Policy Distillation of Language Models", ICLR 2024,
          arXiv:2306.13649, section 2 (generalised); Gu et al., "MiniLLM", ICLR 2024,
          arXiv:2306.08543 (reverse); Ko et al., "DistiLLM", ICML 2024, arXiv:2402.03898, section
          3.1 (skew, a of 0.1).
Differs   Libraries that give JSD_b with b of 0 and 1 as the two KLs jump there; here b is between.
Left out  Vocabularies that differ; adaptive mixtures (AKL, Wu et al., 2024).
Read      on_policy.py trains with these.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

Logits = Float[Tensor, "*positions vocabulary"]
AsMany = Float[Tensor, "..."]  # the same shape
PerPosition = Float[Tensor, "*positions"]


def forward_kl(student: Logits, teacher: AsMany) -> PerPosition:
    """KL(p || q). Raises ValueError: logits of different shapes."""
    q, p = _logs(student, teacher)
    return _kl(p, q)


def reverse_kl(student: Logits, teacher: AsMany) -> PerPosition:
    """KL(q || p). Raises ValueError: logits of different shapes."""
    q, p = _logs(student, teacher)
    return _kl(q, p)


def generalised_jsd(student: Logits, teacher: AsMany, beta: float) -> PerPosition:
    """JSD_b; 1/2 is Jensen and Shannon's.

    Raises:
        ValueError: not 0 < beta < 1, or logits of different shapes.
    """
    if not 0 < beta < 1:
        raise ValueError(f"beta must be between 0 and 1, got {beta}; at the ends take a KL")
    q, p = _logs(student, teacher)
    mixture = _mixed(p, q, beta)
    return beta * _kl(p, mixture) + (1 - beta) * _kl(q, mixture)


def skew_kl(student: Logits, teacher: AsMany, alpha: float = 0.1) -> PerPosition:
    """KL(p || a p + (1 - a) q); with alpha of 0 forward_kl.

    Raises:
        ValueError: not 0 <= alpha < 1, or logits of different shapes.
    """
    _check_skew(alpha)
    q, p = _logs(student, teacher)
    return _kl(p, _mixed(p, q, alpha))


def skew_reverse_kl(student: Logits, teacher: AsMany, alpha: float = 0.1) -> PerPosition:
    """KL(q || (1 - a) p + a q); with alpha of 0 reverse_kl.

    Raises:
        ValueError: not 0 <= alpha < 1, or logits of different shapes.
    """
    _check_skew(alpha)
    q, p = _logs(student, teacher)
    return _kl(q, _mixed(q, p, alpha))


def _check_skew(alpha: float) -> None:
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha must be at least 0 and below 1, got {alpha}")


def _logs(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    if student.shape != teacher.shape:
        shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        raise ValueError(f"student and teacher must speak of the same tokens, got logits {shapes}")
    return student.log_softmax(-1), teacher.log_softmax(-1)


def _mixed(first: Tensor, second: Tensor, share: float) -> Tensor:
    """log(share of the first + the rest of the second), from logarithms."""
    if share == 0:
        return second
    never = (first == -math.inf) & (second == -math.inf)  # where logaddexp has no gradient
    first, second = first.masked_fill(never, 0), second.masked_fill(never, 0)
    mixture = torch.logaddexp(first + math.log(share), second + math.log(1 - share))
    return mixture.masked_fill(never, -math.inf)


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """A token that p never says contributes nothing, and has no gradient."""
    never = log_p == -math.inf
    difference = log_p.masked_fill(never, 0) - log_q.masked_fill(never, 0)
    return (log_p.exp() * difference).sum(-1)
