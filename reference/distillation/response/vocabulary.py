"""Vocabularies that differ: what can still be learnt is the tokens that both have.

Of the student's logits z and the teacher's v over other tokens, S the tokens of both:

    p, q over S and one bin "rest" that holds the probability of every other token
    KL(p || q) = KL of (p(S), p(rest)) against (q(S), q(rest)) + p(S) KL(p(. | S) || q(. | S))

Lumping never makes a divergence larger (data-processing inequality), and with one vocabulary for
both it changes nothing. Dropping the rest instead would let the student say anything outside of S.
Only a student that has nothing outside of S is compared with p(. | S): it cannot say the rest.

Both must cut a text at the same places: then place n of one is place n of the other. A student
whose vocabulary is part of the teacher's, or the same in another order, does. Two tokenizers that
cut differently do not, and are refused token by token: a text with a token that is not shared.

Source    The chain rule of KL (Cover and Thomas, 2006, theorem 2.5.3).
Left out  Texts that are cut differently: sorted probabilities (ULD, Boizard et al. 2024,
          arXiv:2402.12030), aligned tokens (DSKD, Zhang et al. 2024, arXiv:2406.17328).
Read      soft_labels.py, mixing.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference.distillation.outputs import Batch, Outputs
from reference.distillation.response.soft_labels import hard_loss, learnt, soft_divergence


class Shared(NamedTuple):
    """Row i is one token: its number in each vocabulary."""

    student: Int[Tensor, " tokens"]
    teacher: Int[Tensor, " tokens"]


def shared_tokens(student: Mapping[str, int], teacher: Mapping[str, int]) -> Shared:
    """The tokens of both vocabularies, in the order of the student's numbers.

    Raises:
        ValueError: there are fewer than two.
    """
    both = sorted(student.keys() & teacher.keys(), key=lambda token: student[token])
    if len(both) < 2:
        raise ValueError(f"the vocabularies share {len(both)} tokens; at least two are needed")
    return Shared(
        torch.tensor([student[each] for each in both]),
        torch.tensor([teacher[each] for each in both]),
    )


def lumped(
    logits: Float[Tensor, "*positions vocabulary"], kept: Int[Tensor, " tokens"]
) -> Float[Tensor, "*positions bins"]:
    """Logits of the kept tokens, then of one bin for all others: -inf where there are none."""
    others = logits.index_fill(-1, kept.to(logits.device), -math.inf)
    empty = others.amax(-1, keepdim=True) == -math.inf  # where logsumexp has no gradient
    rest = others.masked_fill(empty, 0).logsumexp(-1, keepdim=True).masked_fill(empty, -math.inf)
    return torch.cat([logits[..., kept], rest], -1)


def comparable(
    student: Float[Tensor, "positions tokens"],
    teacher: Float[Tensor, "positions others"],
    shared: Shared,
) -> tuple[Float[Tensor, "positions bins"], Float[Tensor, "positions bins"]]:
    """Both in the same bins."""
    if len(shared.student) == student.shape[-1]:
        return student[..., shared.student], teacher[..., shared.teacher]
    return lumped(student, shared.student), lumped(teacher, shared.teacher)


@dataclass(frozen=True)
class SharedVocabulary:
    """Labels in the student's own vocabulary, soft labels in what both share.

    Raises:
        ValueError: alpha outside [0, 1], or a temperature that is not positive.
    """

    shared: Shared
    alpha: float = 0.5  # the teacher's share
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be within 0 and 1, got {self.alpha}")
        if not self.temperature > 0:
            raise ValueError(f"a temperature must be positive, got {self.temperature}")

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        """
        Raises:
            ValueError: as `learnt` and `hard_loss`.
        """
        z, v, _ = learnt(student, teacher, batch)
        q, p = comparable(z / self.temperature, v / self.temperature, self.shared)
        soft = self.temperature**2 * soft_divergence(q, p)
        return (1 - self.alpha) * hard_loss(student.logits, batch.labels) + self.alpha * soft


class Translated(nn.Module):
    """A teacher that reads the student's tokens.

    Raises:
        ValueError: when run, a token that the teacher does not have.
    """

    def __init__(self, teacher: nn.Module, shared: Shared) -> None:
        super().__init__()
        self.teacher = teacher
        table = torch.full((int(shared.student.max()) + 1,), -1)
        table[shared.student] = shared.teacher
        self.register_buffer("table", table)

    def forward(self, tokens: Tensor | None = None, **inputs: Tensor) -> object:
        if tokens is not None:
            return self.teacher(self._translate(tokens))
        return self.teacher(**{**inputs, "input_ids": self._translate(inputs["input_ids"])})

    def _translate(self, tokens: Tensor) -> Tensor:
        known = self.table[tokens.clamp(max=len(self.table) - 1)]
        known = known.masked_fill(tokens >= len(self.table), -1)
        if (known < 0).any():
            token = int(tokens[known < 0][0])
            raise ValueError(f"token {token} of the student is not in the teacher's vocabulary")
        return known
