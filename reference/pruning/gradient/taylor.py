"""Taylor criteria: the first-order estimate of the loss without a weight, or without an output.

    one weight      L(w_j = 0) - L = -g_j w_j + ...        s_j = mean (g_j w_j)^2, mean |g_j w_j|
    one output      all its weights at once                s_o = mean (sum_j in o g_j w_j)^2

The mean is over batches, of squares or absolute values: what pulls up in one batch and down in the
next is not lost, as it is in SNIP's |mean g w|. The sum for an output is the derivative by a gate
on that output; its terms cancel, which the sum of single scores would hide.

Source    Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
          Inference", 2017, arXiv:1611.06440 (absolute, gates of feature maps); Molchanov et al.,
          "Importance Estimation for Neural Network Pruning", 2019, arXiv:1906.10771 (squared).
Differs   The gate stands before the bias. No normalisation by layer.
Left out  The second-order term of 2019, which they report to add little over the first.
Read      derivatives.py first; mean (g w)^2 is w^2 times the Fisher diagonal of obd.py.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reference.pruning.gradient.derivatives import LossOf, Named, mean_of, scored_weights, telling
from reference.pruning.matrices import layer_of, matrix


def squared_taylor_scores(
    model: nn.Module, batches: Sequence[Any], loss_of: LossOf, spared: Collection[str] = ()
) -> Named:
    """mean (g w)^2 of each weight.

    Raises:
        ValueError: nothing to score, no batch, gradients that are not finite or all zero.
    """
    return _mean_products(model, batches, loss_of, spared, torch.square)


def absolute_taylor_scores(
    model: nn.Module, batches: Sequence[Any], loss_of: LossOf, spared: Collection[str] = ()
) -> Named:
    """mean |g w| of each weight.

    Raises:
        ValueError: as `squared_taylor_scores`.
    """
    return _mean_products(model, batches, loss_of, spared, torch.abs)


def output_taylor_scores(
    model: nn.Module, batches: Sequence[Any], loss_of: LossOf, spared: Collection[str] = ()
) -> Named:
    """mean (sum g w)^2 over the weights of each output channel: a vector (d_out,) for each weight.

    Raises:
        ValueError: as `squared_taylor_scores`.
    """
    weights = scored_weights(model, spared)

    def term(name: str, gradient: Tensor) -> Tensor:
        product = gradient * weights[name].detach()
        return matrix(layer_of(model, name), product).sum(1).square()

    return telling(mean_of(model, weights, batches, loss_of, term))


def _mean_products(
    model: nn.Module,
    batches: Sequence[Any],
    loss_of: LossOf,
    spared: Collection[str],
    of: Callable[[Tensor], Tensor],
) -> Named:
    weights = scored_weights(model, spared)

    def term(name: str, gradient: Tensor) -> Tensor:
        return of(gradient * weights[name].detach())

    return telling(mean_of(model, weights, batches, loss_of, term))
