"""Optimal Brain Damage: what a weight costs where the loss is curved and the gradient is zero.

    L(w + d) - L(w) ~ d' H d / 2            H taken as diagonal:  s_j = h_jj w_j^2 / 2

Exact for any set of weights when the loss is quadratic, at its minimum, and H is diagonal; else
terms between weights are missing, and obs.py has them. Three ways to the diagonal:

    exact            one product H e_j for each weight
    Hutchinson       mean v o Hv           v of random signs; mean h_jj, variance sum_k!=j h_jk^2
    Fisher           mean g_j^2            over batches: of one sample each for the empirical Fisher

Scores from the first two can be below zero, where the loss bends down: that weight goes first.

Source    LeCun, Denker and Solla, "Optimal Brain Damage", NeurIPS 1989; Bekas et al., "An Estimator
          for the Diagonal of a Matrix", 2007 (Hutchinson's, of the diagonal).
Differs   They carry second derivatives back layer by layer with squared weights (Gauss-Newton,
          diagonal in each layer); products with the Hessian need no rule for each kind of layer.
Left out  Shared weights as one parameter with several places: here they are one weight.
Read      hessian.py first.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reference.pruning.gradient.derivatives import LossOf, Named, mean_of, scored_weights, telling
from reference.pruning.gradient.hessian import flat, hessian_products, unflat

AT_ONCE = 256  # unit vectors, so that n weights take 256 n numbers and not n^2


def obd_scores(weights: Mapping[str, Tensor], diagonal: Mapping[str, Tensor]) -> Named:
    """h w^2 / 2 of each weight that has a curvature.

    Raises:
        ValueError: scores that are not finite or all zero.
    """
    bent = {name: each * weights[name].detach().square() / 2 for name, each in diagonal.items()}
    return telling(bent)


def exact_diagonal(
    model: nn.Module, batches: Sequence[Any], loss_of: LossOf, spared: Collection[str] = ()
) -> Named:
    """h_jj of the mean loss, by as many products as there are weights: for small networks.

    Raises:
        ValueError: nothing to score, no batch, derivatives that are not finite.
    """
    weights = scored_weights(model, spared)
    like = flat(weights)
    found = torch.empty_like(like)
    for places in torch.arange(len(like), device=like.device).split(AT_ONCE):
        units = like.new_zeros(len(places), len(like))
        units[range(len(places)), places] = 1
        products = hessian_products(model, weights, batches, loss_of, units)
        found[places] = products[range(len(places)), places]
    return unflat(found, weights)


def hutchinson_diagonal(
    model: nn.Module,
    batches: Sequence[Any],
    loss_of: LossOf,
    generator: torch.Generator,
    probes: int = 32,
    spared: Collection[str] = (),
) -> Named:
    """h_jj estimated by probes of random signs, without bias; exact where H is diagonal.

    Raises:
        ValueError: as `exact_diagonal`, or no probe.
    """
    if probes < 1:
        raise ValueError(f"probes must be at least 1, got {probes}")
    weights = scored_weights(model, spared)
    like = flat(weights)
    signs = torch.randint(0, 2, (probes, len(like)), generator=generator, device=generator.device)
    vectors = (2 * signs - 1).to(like)
    products = hessian_products(model, weights, batches, loss_of, vectors)
    return unflat((vectors * products).mean(0), weights)


def fisher_diagonal(
    model: nn.Module, samples: Sequence[Any], loss_of: LossOf, spared: Collection[str] = ()
) -> Named:
    """mean g^2 of each weight; every sample is one batch.

    Raises:
        ValueError: nothing to score, no sample, gradients that are not finite.
    """
    weights = scored_weights(model, spared)
    return mean_of(model, weights, samples, loss_of, lambda _, gradient: gradient.square())
