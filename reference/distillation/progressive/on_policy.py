"""On-policy distillation: the student writes, and the teacher says what it would have written.

    with probability lambda   y ~ student(. | x)           else y from the data
    loss                      mean over the tokens of y of D(teacher || student)(. | y_<n, x)

A student that learns from others' texts never sees its own mistakes, and at use it conditions on
them. lambda of 0 is distillation on data, of 1 on its own sequences alone; data that the teacher
wrote (`sampling.write`) with lambda of 0 is sequence-level distillation. D is any divergence of
divergences.py. No gradient passes through the sampling: the sequences are data.

Source    Agarwal et al., "On-Policy Distillation of Language Models: Learning from Self-Generated
          Mistakes", ICLR 2024, arXiv:2306.13649, algorithm 1 (GKD).
Differs   The mean is over all tokens of a batch; the paper takes it within each sequence first.
Left out  A reward beside the divergence; MiniLLM's policy gradient, which follows the reverse KL of
          whole sequences; DistiLLM's replay of earlier sequences.
Read      sampling.py and divergences.py first; compute.py counts what sampling costs.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reference.distillation.loop import Epoch
from reference.distillation.outputs import IGNORED, Batch, Outputs
from reference.distillation.progressive.sampling import Sampling, Written, write

# One pass over prompts and answers; the prompts of a batch all end at the same place.
Texts = Callable[[torch.Generator], Iterable[Written]]
Divergence = Callable[[Tensor, Tensor], Tensor]  # logits of student and teacher -> per position


@dataclass(frozen=True)
class TokenLoss:
    """An objective of `distill_`: the mean divergence at the tokens that have a label."""

    divergence: Divergence

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        """
        Raises:
            ValueError: there is no teacher, or no token has a label.
        """
        if teacher is None:
            raise ValueError("a divergence needs a teacher, got none")
        learnt = batch.labels != IGNORED
        if not learnt.any():
            raise ValueError(f"no token of the batch has a label other than {IGNORED}")
        return self.divergence(student.logits[learnt], teacher.logits[learnt]).mean()


def on_policy(student: nn.Module, texts: Texts, own_share: float, sampling: Sampling) -> Epoch:
    """An epoch for `distill_` whose batches the student writes as it is when they are taken.

    Args:
        own_share: lambda, the probability that the answers of a batch are the student's.

    Raises:
        ValueError: the share is not within 0 and 1; at a batch, as `write` and `prompt_length`.
    """
    if not 0 <= own_share <= 1:
        raise ValueError(f"own_share must be within 0 and 1, got {own_share}")

    def epoch(generator: torch.Generator) -> Iterator[Batch]:
        for text in texts(generator):
            own = bool(torch.rand((), generator=generator) < own_share)
            yield as_batch(_rewritten(student, text, sampling) if own else text)

    return epoch


def as_batch(text: Written) -> Batch:
    """Inputs of a causal model, and at each place the next token where that is of the answer.

    Positions count the tokens that stand, as `generate` counts them.
    """
    upcoming = text.tokens.roll(-1, 1).masked_fill(~text.answer.roll(-1, 1), IGNORED)
    upcoming[:, -1] = IGNORED
    stands = text.stands.long()
    inputs = {
        "input_ids": text.tokens,
        "attention_mask": stands,
        "position_ids": (stands.cumsum(1) - 1).clamp(min=0),
    }
    return Batch(inputs, upcoming)


def prompt_length(text: Written) -> int:
    """Where the answers of a batch begin.

    Raises:
        ValueError: a row without an answer, or answers that begin at different places.
    """
    if not text.answer.any(1).all():
        raise ValueError("every row of a batch needs an answer of at least one token")
    begins = text.answer.long().argmax(1).unique()
    if len(begins) > 1:
        raise ValueError(f"answers must begin at one place, got {begins.tolist()}; pad on the left")
    return int(begins)


def _rewritten(student: nn.Module, text: Written, sampling: Sampling) -> Written:
    length = prompt_length(text)
    return write(student, text.tokens[:, :length], text.stands[:, :length], sampling)
