"""OWL: layers with more outliers keep more of their weights.

Outliers are weights whose Wanda score is far above the layer's mean. Where there are many, pruning
hurts more, so densities follow their share, within a reach of the mean, and meet the budget:

    D_l = share of scores above M times their mean
    density_l = clip(2 lambda (D_l - min D) / (max D - min D) + t, 1 - S - lambda, 1 - S + lambda)

with t such that the mean density, over weights, is 1 - S.

Source    Yin et al., "Outlier Weighed Layerwise Sparsity (OWL): A Missing Secret Sauce for Pruning
          LLMs to High Sparsity", ICML 2024, arXiv:2310.05175: M = 5 and lambda = 0.08 for Llama.
Differs   Clipped as the paper says, and the shift found after it; the authors' code shifts by the
          mean and lets densities pass the reach. The mean is over weights, where layers differ.
Read      wanda.py first; layerwise.py uses it for the blocks of a Transformer.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

HALVINGS = 100  # float64 has fewer digits


def outlier_share(scores: Sequence[Float[Tensor, "..."]], times: float = 5.0) -> float:
    """The share of all these scores that is more than `times` their mean.

    Raises:
        ValueError: no score, scores that are not finite, or `times` not above zero.
    """
    if not times > 0:
        raise ValueError(f"times must be above zero, got {times}")
    flat = torch.cat([each.flatten() for each in scores]) if scores else torch.empty(0)
    if not flat.numel() or not torch.isfinite(flat).all():
        raise ValueError(f"outliers need scores that are finite, got {flat.numel()}")
    return (flat > times * flat.double().mean()).double().mean().item()


def owl_sparsities(
    shares: Sequence[float], sizes: Sequence[int], sparsity: float, reach: float = 0.08
) -> list[float]:
    """The sparsity of each layer, of a mean over weights that is the given one.

    Args:
        shares: of outliers, D.
        sizes: how many weights each layer has.
        reach: lambda, the most that a layer's sparsity differs from the given one.

    Raises:
        ValueError: no layer, shares and sizes that do not match, a sparsity not within 0 and 1, or
            a reach below zero.
    """
    _check(shares, sizes, sparsity, reach)
    ratio = torch.tensor(shares, dtype=torch.float64)
    weight = torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
    span = (ratio.max() - ratio.min()).item()
    steep = 2 * reach * (ratio - ratio.min()) / span if span else torch.zeros_like(ratio)
    least, most = max(0.0, 1 - sparsity - reach), min(1.0, 1 - sparsity + reach)

    low, high = least - 2 * reach, most  # the mean density rises with the shift
    for _ in range(HALVINGS):
        shift = (low + high) / 2
        if (weight * (steep + shift).clamp(least, most)).sum() < 1 - sparsity:
            low = shift
        else:
            high = shift
    return (1 - (steep + high).clamp(least, most)).tolist()


def _check(shares: Sequence[float], sizes: Sequence[int], sparsity: float, reach: float) -> None:
    if not shares or len(shares) != len(sizes) or min(sizes) < 1:
        raise ValueError(f"{len(shares)} shares of outliers for layers of {list(sizes)} weights")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity must be within 0 and 1, got {sparsity}")
    if not 0 <= reach < torch.inf:
        raise ValueError(f"reach must be finite and not negative, got {reach}")
    if not all(0 <= each <= 1 for each in shares):
        raise ValueError(f"shares must be within 0 and 1, got {list(shares)}")
