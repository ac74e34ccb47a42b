"""Zero-cost proxies: scores of networks that nobody trained, and how well they rank.

    grad norm    sum over weights of |dL/dw|_2, on one batch
    tau          Kendall's tau-b between a proxy and the trained scores: 1 the same order, 0 none
    interval     percentiles of tau over networks drawn with replacement

A proxy is a function of a network; the sum of SynFlow's or SNIP's scores is another one.

Source    Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021, arXiv:2101.08134;
          Kendall, Biometrika 1938; Efron 1979 (the bootstrap).
Left out  Votes of several proxies; jacobian covariance.
Read      By itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.stats import kendalltau
from torch import nn

from reference.pruning.gradient.derivatives import LossOf, gradients, scored_weights


@dataclass(frozen=True)
class Agreement:
    tau: float
    low: float
    high: float


def grad_norm(model: nn.Module, batch: Any, loss_of: LossOf) -> float:
    """
    Raises:
        ValueError: no weights, or gradients that are not finite.
    """
    found = gradients(model, scored_weights(model), [batch], loss_of)
    return sum(each.norm().item() for each in found.values())


def rank_agreement(
    proxy: Sequence[float],
    trained: Sequence[float],
    generator: torch.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Agreement:
    """Tau and its bootstrap interval. Draws in which all networks tie have no order and are drawn
    again.

    Raises:
        ValueError: scores of different numbers, all equal, or not finite; fewer than 3 networks.
    """
    pairs = torch.tensor([list(proxy), list(trained)] if len(proxy) == len(trained) else [[], []])
    pairs = pairs.double()
    if pairs.shape[1] < 3 or not torch.isfinite(pairs).all():
        raise ValueError(f"{len(proxy)} and {len(trained)} scores: 3 or more pairs, all finite")
    if not _ordered(pairs):
        raise ValueError("scores that are all equal have no order")
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"{resamples} resamples at a confidence of {confidence} make no interval")
    found = [_resampled(pairs, generator) for _ in range(resamples)]
    tail = (1 - confidence) / 2
    ends = torch.quantile(torch.tensor(found), torch.tensor([tail, 1 - tail]))
    return Agreement(_tau(pairs), *ends.tolist())


def _resampled(pairs: torch.Tensor, generator: torch.Generator) -> float:
    count = pairs.shape[1]
    while True:
        drawn = pairs[:, torch.randint(count, (count,), generator=generator)]
        if _ordered(drawn):
            return _tau(drawn)


def _ordered(pairs: torch.Tensor) -> bool:
    return bool((pairs != pairs[:, :1]).any(1).all())


def _tau(pairs: torch.Tensor) -> float:
    return float(kendalltau(pairs[0].numpy(), pairs[1].numpy()).statistic)
