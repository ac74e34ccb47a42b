"""The sandwich rule: one step trains the largest, the smallest and some random subnets together.

    largest       cross-entropy with the labels
    others        cross-entropy with the largest's own answers, as they are:  -sum p_max log p
    gradient      the sum over all of them, on the shared weights

Source    Yu and Huang, "Universally Slimmable Networks and Improved Training Techniques", ICCV
          2019, arXiv:1903.05134, section 3 (both rules); Yu et al., "BigNAS", ECCV 2020,
          arXiv:2003.11142.
Left out  Their schedules, label smoothing and regularising the largest alone.
Read      supernet.py first.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from reference.pruning.search.moves import sampled
from reference.pruning.search.space import Candidate, Space
from reference.pruning.search.supernet import Supernet


@dataclass(frozen=True)
class SandwichStep:
    """Which subnets were trained, the largest first and the smallest second, and their losses."""

    candidates: tuple[Candidate, ...]
    losses: tuple[float, ...]


def sandwich_backward_(
    supernet: Supernet,
    space: Space,
    images: Tensor,
    labels: Int[Tensor, " batch"],
    generator: torch.Generator,
    randoms: int = 2,
) -> SandwichStep:
    """Add the gradients of one step to the network's own. Clearing them before and the optimizer's
    step after are the caller's, as is the network's mode.

    Raises:
        ValueError: a negative number of random subnets.
    """
    if randoms < 0:
        raise ValueError(f"randoms must be 0 or more, got {randoms}")
    drawn = [sampled(space, generator) for _ in range(randoms)]
    candidates = (space.largest, space.smallest, *drawn)
    logits = supernet.answer(space.largest, images)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    losses = [loss.item()]
    soft = logits.detach().softmax(-1)
    for each in candidates[1:]:
        loss = F.cross_entropy(supernet.answer(each, images), soft)
        loss.backward()
        losses.append(loss.item())
    return SandwichStep(candidates, tuple(losses))
