"""Word-level distillation of language models: every token's distribution, none of padding.

A causal model says at place n what comes at n + 1, so labels are the tokens one place on:

    tokens    a  b  c  end  pad          labels    b  c  end  -  -          "-" is IGNORED
    L_n = (1 - a) H(y_n, q_n) + a T^2 KL(p_n || q_n)

    token mean       sum over all labels / number of labels           long texts count for more
    sequence mean    mean over texts of the mean over a text's labels      every text counts as one

A mean over all places instead would weigh a batch by how little of it is padding.

Source    Kim and Rush, "Sequence-Level Knowledge Distillation", EMNLP 2016, arXiv:1606.07947,
          section 3.1 (word level); the mean within texts: Agarwal et al. 2024, arXiv:2306.13649.
Left out  Sequence-level distillation: data that the teacher wrote (progressive/sampling.py), with
          alpha of 0.
Read      mixing.py, which is the token mean for any divergence.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reference.distillation.divergences import forward_kl
from reference.distillation.outputs import IGNORED, Batch, Outputs
from reference.distillation.response.soft_labels import learnt

Places = Float[Tensor, "texts places"]
Labels = Int[Tensor, "texts places"]


def next_token_labels(
    tokens: Int[Tensor, "texts places"], stands: Bool[Tensor, "texts places"]
) -> Labels:
    """What a causal model is to say at each place; IGNORED where it or its next is padding.

    Args:
        stands: False at padding, on whichever side.

    Raises:
        ValueError: no token follows another.
    """
    both = stands[:, :-1] & stands[:, 1:]
    if not both.any():
        raise ValueError("a text needs two tokens, one to predict the other from; got none")
    labels = torch.full_like(tokens, IGNORED)
    labels[:, :-1] = tokens[:, 1:].masked_fill(~both, IGNORED)
    return labels


def token_mean(losses: Places, labels: Labels) -> Float[Tensor, ""]:
    """Losses at the labels, over their number."""
    return losses[labels != IGNORED].mean()


def sequence_mean(losses: Places, labels: Labels) -> Float[Tensor, ""]:
    """The mean over texts of the mean over their labels; texts without any are left out."""
    learnt_places = labels != IGNORED
    counts = learnt_places.sum(-1)
    sums = losses.masked_fill(~learnt_places, 0).sum(-1)
    return (sums[counts > 0] / counts[counts > 0]).mean()


@dataclass(frozen=True)
class WordLevel:
    """
    Raises:
        ValueError: alpha outside [0, 1], or a temperature that is not positive.
    """

    alpha: float = 0.5  # the teacher's share
    temperature: float = 1.0
    mean: Callable[[Tensor, Tensor], Tensor] = token_mean

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
            ValueError: labels that are not one for each place of a text, or as `learnt`.
        """
        if batch.labels.ndim != 2:
            raise ValueError(f"labels must be (texts, places), got {tuple(batch.labels.shape)}")
        z, v, labels = learnt(student, teacher, batch)
        soft = self.temperature**2 * forward_kl(z / self.temperature, v / self.temperature)
        hard = F.cross_entropy(z, labels, reduction="none")
        each = (1 - self.alpha) * hard + self.alpha * soft
        losses = torch.zeros_like(batch.labels, dtype=each.dtype)
        losses[batch.labels != IGNORED] = each
        return self.mean(losses, batch.labels)
