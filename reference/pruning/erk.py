"""How much of each layer to keep: the same share of all, or more of those that are small.

A random bipartite graph of n inputs and m outputs is connected with about n + m edges, far fewer
than the n m it could have. So a layer's density is chosen in proportion to

    Erdos-Renyi           (d_out + d_in) / (d_out d_in)
    with the kernel       (d_out + d_in + k + k) / (d_out d_in k k)

    density of layer l    min(1, epsilon ratio_l)        epsilon such that all layers together keep
                                                         what the sparsity leaves

A layer that would keep more than all of itself is kept whole, and the others share what is left.

Source    Mocanu et al., "Scalable Training of Artificial Neural Networks with Adaptive Sparse
          Connectivity", 2018, arXiv:1707.04780 (Erdos-Renyi); Evci et al., "Rigging the Lottery",
          ICML 2020, arXiv:1911.11134, section 3 (the kernel, the common budget).
Differs   Shares are rounded to whole weights so that the budget is met exactly, by largest
          remainders.
Left out  Keeping the first layer dense: name it in `spared` where the weights are collected.
Read      masks.py first: layer_masks takes the sparsities.
"""

import math
from collections.abc import Callable, Mapping

from torch import Size, Tensor

from reference.pruning.masks import removed_count

Ratio = Callable[[Size], float]


def uniform_sparsities(weights: Mapping[str, Tensor], sparsity: float) -> dict[str, float]:
    """The control: the same for every layer."""
    return dict.fromkeys(weights, sparsity)


def erdos_renyi(shape: Size) -> float:
    return (shape[0] + shape[1]) / (shape[0] * shape[1])


def erdos_renyi_kernel(shape: Size) -> float:
    return sum(shape) / math.prod(shape)


def erk_sparsities(
    weights: Mapping[str, Tensor], sparsity: float, ratio: Ratio = erdos_renyi_kernel
) -> dict[str, float]:
    """A sparsity for each layer; with layer_masks they remove as many weights as one for all.

    Raises:
        ValueError: the sparsity is not within 0 and 1, or a weight has fewer than two axes.
    """
    densities = erk_densities(weights, sparsity, ratio)
    shares = {name: densities[name] * each.numel() for name, each in weights.items()}
    total = sum(each.numel() for each in weights.values())
    kept = _whole(shares, total - removed_count(total, sparsity))
    return {name: 1 - kept[name] / each.numel() for name, each in weights.items()}


def erk_densities(
    weights: Mapping[str, Tensor], sparsity: float, ratio: Ratio = erdos_renyi_kernel
) -> dict[str, float]:
    """The densities before they are rounded to whole weights.

    Raises:
        ValueError: as erk_sparsities.
    """
    for name, each in weights.items():
        if each.ndim < 2:
            raise ValueError(f"{name!r} has shape {tuple(each.shape)}; expected inputs and outputs")
    sizes = {name: each.numel() for name, each in weights.items()}
    ratios = {name: ratio(each.shape) for name, each in weights.items()}
    total = sum(sizes.values())
    budget = total - removed_count(total, sparsity)
    densities: dict[str, float] = {}
    while free := [name for name in weights if name not in densities]:
        left = budget - sum(sizes[name] for name in densities)
        epsilon = left / sum(ratios[name] * sizes[name] for name in free)
        whole = [name for name in free if epsilon * ratios[name] >= 1]
        if not whole:
            densities |= {name: epsilon * ratios[name] for name in free}
        densities |= dict.fromkeys(whole, 1.0)
    return {name: densities[name] for name in weights}


def _whole(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers that sum to the total, each less than 1 from its share."""
    counts = {name: math.floor(share) for name, share in shares.items()}
    missing = total - sum(counts.values())
    by_rest = sorted(shares, key=lambda name: counts[name] - shares[name])  # stable: order decides
    return counts | {name: counts[name] + 1 for name in by_rest[:missing]}
