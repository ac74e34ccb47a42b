"""Movement pruning: keep the weights that training moves away from zero, not those that are large.

Every weight has a score that is learned with it. The forward pass reads only weights whose score is
among the highest; the scores' gradient takes the mask for the score itself (straight through).

    W' = W * M          M = the (1 - s) n highest scores of the layer    hard
                        M = 1[sigmoid(S) > tau]                          soft
    dL/dS = dL/dW' * W          dL/dW = dL/dW' * M
    S after plain steps of rate a:   S_0 - a sum over steps of dL/dW' * W

A step of W is -dL/dW': so a score grows while its weight moves away from zero, and falls while it
shrinks. What magnitude keeps was large before; what movement keeps became large. Soft scores find
their own sparsity, layer by layer, under a penalty lambda mean sigmoid(S).

Source    Sanh et al., "Movement Pruning: Adaptive Sparsity by Fine-Tuning", NeurIPS 2020,
          arXiv:2005.07683, sections 3-4 and the authors' code (the sigmoid before tau).
Differs   Counts are exact and ties settled as in masks.py. Scores begin at 0, so hard pruning has
          to begin at sparsity 0: let a cubic schedule raise it.
Left out  Ranking the scores of all layers together; blocks (Lagunas et al., 2021).
Read      masks.py, schedules.py first. An optimizer should not decay scores.
"""

import copy
import math
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from reference.pruning.masks import Masks, layer_mask
from reference.pruning.matrices import layer_of
from reference.pruning.weights import prunable_weights

Choose = Callable[[Tensor], Tensor]  # scores to a mask, in one shape


def moved(
    weight: Float[Tensor, "*shape"], scores: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """The weight under the mask, with gradients for the weight and for the scores."""
    return _Moved.apply(weight, scores, mask)


def hard(sparsity: float) -> Choose:
    """Removes that share of each layer: its lowest scores."""
    return partial(layer_mask, sparsity=sparsity)


def soft(threshold: float) -> Choose:
    """Removes what has a sigmoid at or below the threshold, in any layer.

    Raises:
        ValueError: the threshold is not between 0 and 1.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"a sigmoid's threshold lies between 0 and 1, got {threshold}")
    return lambda scores: scores > math.log(threshold / (1 - threshold))


class Movement(nn.Module):
    """The scores of one weight. A parametrization: the layer's weight is what this makes of it."""

    def __init__(self, weight: Float[Tensor, "..."], choose: Choose) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros_like(weight))
        self.choose = choose

    def mask(self) -> Bool[Tensor, "..."]:
        return self.choose(self.scores.detach())

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return moved(weight, self.scores, self.mask())


def with_movement(
    model: nn.Module, choose: Choose = hard(0.0), spared: Collection[str] = ()
) -> nn.Module:
    """A copy whose weights are learned with scores. Any loop trains it; all of it is parameters.

    Raises:
        ValueError: `spared` names no module of this model, two layers share a weight, or a layer
            has a parametrization already.
    """
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            raise ValueError(f"layer {name!r} has a parametrization; scores need plain weights")
    prepared = copy.deepcopy(model)
    weights = prunable_weights(prepared, spared)
    _refuse_shared(prepared, weights)
    for name, weight in weights.items():
        layer, scores = layer_of(prepared, name), Movement(weight.detach(), choose)
        parametrize.register_parametrization(layer, "weight", scores)
    return prepared


def set_choice_(model: nn.Module, choose: Choose) -> None:
    """Call it before each step with hard(schedule.at(step))."""
    for each in movements(model).values():
        each.choose = choose


def movements(model: nn.Module) -> dict[str, Movement]:
    """The scores by the name of the weight that they belong to.

    Raises:
        ValueError: there are none.
    """
    found = {
        name.replace("parametrizations.", "").removesuffix(".0"): module
        for name, module in model.named_modules()
        if isinstance(module, Movement)
    }
    if not found:
        raise ValueError(f"{type(model).__name__} has no scores; make it with with_movement()")
    return found


def movement_scores(model: nn.Module) -> dict[str, Tensor]:
    """What was learned, for masks.py to choose by.

    Raises:
        ValueError: the model has no scores.
    """
    return {name: each.scores.detach().clone() for name, each in movements(model).items()}


def movement_masks(model: nn.Module) -> Masks:
    """The masks that the model computes with.

    Raises:
        ValueError: the model has no scores.
    """
    return {name: each.mask() for name, each in movements(model).items()}


def score_penalty(model: nn.Module) -> Float[Tensor, ""]:
    """The mean of sigmoid(S) over all scores; lambda times it joins the loss of soft pruning.

    Raises:
        ValueError: the model has no scores.
    """
    return torch.cat([each.scores.flatten() for each in movements(model).values()]).sigmoid().mean()


def without_movement(model: nn.Module) -> nn.Module:
    """A copy with plain weights again: those that the model computed with, zeros included.

    Raises:
        ValueError: the model has no scores.
    """
    finished = copy.deepcopy(model)
    for name in movements(finished):
        _make_plain_(layer_of(finished, name))
    return finished


def _make_plain_(layer: nn.Module) -> None:
    """remove_parametrizations would change all copies of the layer, and the order of its state."""
    original = layer.parametrizations.weight.original
    weight = nn.Parameter(layer.weight.detach().clone(), original.requires_grad)
    others = dict(layer.named_parameters(recurse=False))
    layer.__class__ = parametrize.type_before_parametrizations(layer)
    del layer.parametrizations
    for name in others:
        delattr(layer, name)
    for name, each in {"weight": weight, **others}.items():
        layer.register_parameter(name, each)


def _refuse_shared(model: nn.Module, weights: dict[str, nn.Parameter]) -> None:
    names: dict[int, list[str]] = {}
    for name, each in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(each), []).append(name)
    for weight in weights.values():
        if len(names[id(weight)]) > 1:
            raise ValueError(
                f"{' and '.join(names[id(weight)])} are one weight, which scores would part; "
                "spare those layers"
            )


class _Moved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(weight, mask)
        return weight.masked_fill(~mask, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        weight, mask = ctx.saved_tensors
        return gradients[0].masked_fill(~mask, 0), gradients[0] * weight, None
