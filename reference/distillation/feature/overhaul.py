"""OFD: features before the ReLU, and only as far as the ReLU would let them through.

    target    t' = max(t, m_c)                 m_c: the mean of the negative t of channel c
    partial   d(s, t') = 0 where s <= t' <= 0, else (s - t')^2
    L         mean over entries of d(r(s), t')

What a teacher holds below zero never leaves its ReLU. How far below is worth little, so the margin
cuts it off, and a student that is lower still has nothing to learn there.

Source    Heo et al., "A Comprehensive Overhaul of Feature Distillation", ICCV 2019,
          arXiv:1904.01866, sections 3.2 to 3.4.
Differs   Margins are measured on data; the paper has them from batch norm too, as the mean of a
          Gaussian's negative part.
Read      regressors.py first; the paper's r is a 1x1 convolution and a batch norm. Taps must be
          before the ReLU.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from reference.distillation.feature.regressors import Features, same_shape

Maps = Float[Tensor, "rows channels *places"]


def margins(features: Maps) -> Float[Tensor, " channels"]:
    """m_c of a batch of the teacher's features; 0 for a channel that is never negative."""
    channels = features.movedim(1, 0).flatten(1)
    negative = channels < 0
    return channels.masked_fill(~negative, 0).sum(1) / negative.sum(1).clamp(min=1)


def partial_loss(
    student: Features, teacher: Features, margin: Float[Tensor, " channels"]
) -> Float[Tensor, ""]:
    """
    Raises:
        ValueError: shapes differ in more than height and width, or channels need other margins.
    """
    mine, theirs = same_shape(student, teacher)
    if len(margin) != theirs.shape[1]:
        raise ValueError(f"{theirs.shape[1]} channels need a margin each, got {len(margin)}")
    target = torch.maximum(theirs, margin.reshape(-1, *[1] * (theirs.ndim - 2)))
    untaught = (mine <= target) & (target <= 0)
    return (mine - target).square().masked_fill(untaught, 0).mean()
