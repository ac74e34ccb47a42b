"""SNIP: how much the loss depends on a connection being there, seen before any training.

Each weight gets a gate c that is 1. The derivative of the loss by the gate is the first-order
estimate of what closing it does, up or down:

    SNIP              s_j = |dL/dc_j| at c = 1 = |g_j w_j|             g at w
    iterative SNIP    s_j = |g_j w_j| of what is left                   g at c . w    never back
    FORCE             s_j = |g_j w_j| of all, w as at first             g at c . w    may come back

At high sparsity the gradient of the dense network says little of the pruned one, and one step may
close a whole layer; the two others look again after every small step.

Without biases, a ReLU network's loss L(f) has sum_j g_j w_j = dL/df . f in every layer: a layer of
fewer weights has larger ones, which is why it loses less.

Source    Lee et al., "SNIP: Single-shot Network Pruning based on Connection Sensitivity", ICLR
          2019, arXiv:1810.02340; de Jorge et al., "Progressive Skeletonization: Trimming more fat
          from a network at initialization", ICLR 2021, arXiv:2006.09081 (the other two).
Differs   Scores are not divided by their sum, which changes no choice. Several batches count with
          their mean gradient; iterative variants see the same batches at each step.
Left out  Drawing the weights of variance-scaled initialisation: the model comes with its own.
Read      derivatives.py and progressive.py first; controls.py says how little the choice of single
          weights within a layer matters.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from reference.pruning.gradient.derivatives import (
    LossOf,
    Named,
    gradients,
    scored_weights,
    telling,
)
from reference.pruning.gradient.progressive import progressive_masks
from reference.pruning.masks import Masks, Scores, within
from reference.pruning.weights import masked


def snip_scores(
    model: nn.Module, batches: Sequence[Any], loss_of: LossOf, spared: Collection[str] = ()
) -> Named:
    """|g w| of each weight.

    Raises:
        ValueError: nothing to score, no batch, gradients that are not finite or all zero.
    """
    weights = scored_weights(model, spared)
    return _sensitivity(model, weights, weights, batches, loss_of)


def iterative_snip_masks(
    model: nn.Module,
    batches: Sequence[Any],
    loss_of: LossOf,
    sparsity: float,
    steps: int = 50,
    spared: Collection[str] = (),
) -> Masks:
    """Global masks from SNIP's scores of ever sparser networks.

    Raises:
        ValueError: as `snip_scores`; a sparsity that the steps do not reach; no step.
    """
    weights = scored_weights(model, spared)

    def score(masks: Masks) -> Scores:
        return within(_score_masked(model, weights, batches, loss_of, masks), masks)

    return progressive_masks(weights, score, sparsity, steps)


def force_masks(
    model: nn.Module,
    batches: Sequence[Any],
    loss_of: LossOf,
    sparsity: float,
    steps: int = 50,
    spared: Collection[str] = (),
) -> Masks:
    """The same, but a weight that was removed can return.

    Raises:
        ValueError: as `iterative_snip_masks`.
    """
    weights = scored_weights(model, spared)
    score = partial(_score_masked, model, weights, batches, loss_of)
    return progressive_masks(weights, score, sparsity, steps)


def _score_masked(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    batches: Sequence[Any],
    loss_of: LossOf,
    masks: Masks,
) -> Scores:
    sparse = masked(model, masks)
    inside = {name: sparse.get_parameter(name) for name in weights}
    return _sensitivity(sparse, inside, weights, batches, loss_of)


def _sensitivity(
    model: nn.Module,
    inside: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    batches: Sequence[Any],
    loss_of: LossOf,
) -> Named:
    """|g w|, g of the weights inside the model, w as given."""
    found = gradients(model, inside, batches, loss_of)
    return telling({name: (found[name] * each.detach()).abs() for name, each in weights.items()})
