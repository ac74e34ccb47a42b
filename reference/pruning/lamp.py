"""LAMP: magnitude as a share of what the layer would have left, so that layers can be compared.

Pruned by magnitude alone, a layer keeps its heaviest weights. Removing one more distorts the layer
by w^2, relative to the squares that are still there; that ratio compares layers of any scale.

    weights of one layer sorted so that |w_1| <= ... <= |w_n|
    score(w_u) = w_u^2 / sum over v >= u of w_v^2

The heaviest weight of a layer scores 1, all others at most 1/2. So as long as as many weights are
kept as there are layers, no layer loses everything.

Source    Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021,
          arXiv:2010.07611, section 2.
Differs   Of equal weights the one that comes first counts as lighter, as in masks.py. A layer of
          zeros scores 0 throughout. Sums are taken in float64 of weights over the heaviest, which
          neither overflow nor vanish.
Read      masks.py first: global_masks chooses by these scores.
"""

from collections.abc import Collection

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from reference.pruning.weights import prunable_weights


def lamp(weight: Float[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """The scores of one layer, within 0 and 1 and in the order of magnitude.

    Raises:
        ValueError: a weight is not finite.
    """
    magnitude = weight.detach().double().abs().flatten()
    if not torch.isfinite(magnitude).all():
        raise ValueError("weights contain inf or nan, and have no share of their layer")
    if not magnitude.any():
        return torch.zeros_like(weight, dtype=torch.float64)
    order = magnitude.argsort(stable=True)
    squares = (magnitude / magnitude.max())[order].square()
    left = squares.flip(0).cumsum(0).flip(0)
    return torch.empty_like(squares).scatter_(0, order, squares / left).reshape(weight.shape)


def lamp_scores(model: nn.Module, spared: Collection[str] = ()) -> dict[str, Tensor]:
    """LAMP's score of every prunable weight, by parameter name.

    Raises:
        ValueError: `spared` names no module of this model, or a weight is not finite.
    """
    return {name: lamp(each) for name, each in prunable_weights(model, spared).items()}
