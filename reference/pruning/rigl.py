"""RigL: sparse from the first step to the last, with edges that move to where they are wanted.

Every so many steps, in each layer, the k lowest of the n kept weights are dropped, and as many are
grown where the gradient of the loss is largest among all that are then not there:

    drop    k lowest |w| of the kept            k = f(t) n
    grow    k largest |dL/dw| of the others     they begin at 0
    f(t)    alpha / 2 (1 + cos(pi t / T))       until step T, then the edges stay

A weight that is not there has a gradient: it tells how the loss would fall if it grew. A weight
dropped and wanted back at once keeps its value. SET grows at random: the control that says what the
gradient is worth.

Source    Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020,
          arXiv:1911.11134, section 3 and algorithm 1; Mocanu et al., 2018, arXiv:1707.04780 (SET,
          with RigL's way of dropping).
Differs   The paper zeroes what is dropped and grown at once; the authors' code keeps it, as here.
Left out  Accumulating gradients over several batches.
Read      masks.py, masked_training.py first; erk.py for densities to begin with.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from reference.pruning.masked_training import MaskedTraining
from reference.pruning.masks import Masks, removed_count, without_lowest


@dataclass(frozen=True)
class RiglSchedule:
    """When edges move, and how many. The authors end at three quarters of training."""

    end: int  # T, a step
    every: int = 100
    share: float = 0.3  # alpha, of the kept weights

    def __post_init__(self) -> None:
        if self.end < 1 or self.every < 1:
            raise ValueError(
                f"end and every must be at least 1, got end={self.end}, every={self.every}"
            )
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be within 0 and 1, got {self.share}")

    def moves_at(self, step: int) -> bool:
        return step < self.end and step % self.every == 0

    def share_at(self, step: int) -> float:
        """f(t): from alpha down to 0, and 0 from the end on."""
        progress = min(1.0, step / self.end)
        return self.share / 2 * (1 + math.cos(math.pi * progress))


def regrown(
    weight: Float[Tensor, "*shape"],
    mask: Bool[Tensor, "*shape"],
    wanted: Shaped[Tensor, "*shape"],
    share: float,
) -> Bool[Tensor, "*shape"]:
    """The mask after one move; it keeps as many weights as before.

    Args:
        wanted: how much each weight is wanted: |dL/dw| for RigL, a draw for SET.
        share: of the kept weights that is dropped.

    Raises:
        ValueError: the share is not within 0 and 1, or a weight or want is not finite.
    """
    if not (torch.isfinite(weight).all() and torch.isfinite(wanted).all()):
        raise ValueError("weights or gradients contain inf or nan: no edge can be chosen by them")
    total, kept = mask.numel(), int(mask.sum())
    moving = removed_count(kept, share)
    magnitude = weight.detach().abs().masked_fill(~mask, -math.inf)
    stays = without_lowest(magnitude, total - kept + moving)
    grows = without_lowest(wanted.masked_fill(stays, -math.inf), total - moving)
    return stays | grows


def rigl_masks(
    weights: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    share: float,
) -> Masks:
    """Every layer moves its edges by its gradients, which are dense: of removed weights, too.

    Raises:
        ValueError: as `regrown`.
    """
    return {
        name: regrown(weights[name], mask, gradients[name].abs(), share)
        for name, mask in masks.items()
    }


def set_masks(
    weights: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    share: float,
    generator: torch.Generator,
) -> Masks:
    """Every layer moves its edges to places drawn by lot.

    Raises:
        ValueError: as `regrown`.
    """
    found = {}
    for name, mask in masks.items():
        draw = torch.rand(mask.shape, generator=generator, device=generator.device)
        found[name] = regrown(weights[name], mask, draw.to(mask.device), share)
    return found


def rigl_update_(training: MaskedTraining, loss: Callable[[], Tensor], share: float) -> None:
    """Move the edges of a model in masked training. It takes the place of an optimizer's step.

    Args:
        loss: of the batch at hand. The gradients that the parameters hold stay as they are.

    Raises:
        ValueError: as `regrown`.
    """
    weights = training.weights
    gradients = torch.autograd.grad(loss(), list(weights.values()))
    by_name = dict(zip(weights, gradients, strict=True))
    training.set_masks_(rigl_masks(weights, by_name, training.masks, share))
