"""Sorting the channels of a supernet: narrower networks are the first ones, so the best go first.

    order of group k     by falling score; every tensor that holds the group follows
    whole network        says the same as before, up to the rounding of sums in another order

Source    Cai et al., "Once-for-All", ICLR 2020, arXiv:1908.09791 (elastic width: channels sorted by
          the L1 norm of their weights before widths shrink).
Read      supernet.py first.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from reference.pruning.search.supernet import Supernet, tensors


def channel_norms(supernet: Supernet) -> dict[str, Tensor]:
    """What the layers that read each channel make of it: the sum of their |w|, as in Once-for-All.

    The weights that write a channel say little where a norm follows them.
    """
    state = tensors(supernet.network)
    found = {}
    for width in supernet.widths:
        readers = [slot for slot in width.slots if slot.axis == 1]
        parts = [state[t].detach().abs().movedim(1, 0).flatten(1).sum(1) for t, _ in readers]
        found[width.name] = torch.stack(parts).sum(0)
    return found


@torch.no_grad()
def sorted_channels(supernet: Supernet, scores: Mapping[str, Tensor]) -> Supernet:
    """A copy with the channels of each scored width by falling score. The whole network says the
    same as before, up to rounding.

    Raises:
        ValueError: a score for an unknown width, or not one for each channel.
    """
    ordered = replace(supernet, network=copy.deepcopy(supernet.network))
    state = tensors(ordered.network)
    by_name = {each.name: each for each in supernet.widths}
    for name, score in scores.items():
        if name not in by_name or score.shape != (by_name[name].channels,):
            raise ValueError(f"{name!r} with scores {tuple(score.shape)}: widths are {by_name}")
        order = score.argsort(descending=True, stable=True)
        for tensor, axis in by_name[name].slots:
            state[tensor].copy_(state[tensor].index_select(axis, order))
    return ordered
