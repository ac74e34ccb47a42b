"""Removing channels: a smaller network, not a masked one.

    removed(x)  =  masked(x)          masked: what reads the removed channels reads zeros

Masking is at the reader, behind norms and activations: a filter of zeros is not enough, since a
norm adds its beta and a sigmoid makes 1/2 of nothing. Every tensor along whose axis the channels
lie loses their places, and modules are told their new sizes, so that what is left can be trained,
saved and exported like any other network.

Source    Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, arXiv:1608.08710,
          section 3.1 (the filter, its norm and the next layer's columns go).
Differs   A whole group at once; parameters stay tied where they were.
Left out  Optimizers: make a new one, since its state has the old shapes.
Read      groups.py and graph.py first. A mask is True for the units that are kept, by group.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from reference.pruning.masks import Masks
from reference.pruning.structured.groups import Graph, Group, tensor_of
from reference.pruning.structured.module_sizes import owners, say_sizes_

Axes = dict[tuple[str, int], Tensor]  # (tensor, axis) -> for each place left, which one it was


def remove(model: nn.Module, graph: Graph, masks: Masks) -> nn.Module:
    """A copy without the channels that the masks remove. Groups without a mask keep everything.

    Raises:
        ValueError: a mask for no group, of another size, or that leaves a group nothing.
    """
    kept = {}
    for key, (size, gone) in _lost(model, graph, masks).items():
        stays = torch.ones(size, dtype=torch.bool)
        stays[gone] = False
        kept[key] = stays.nonzero().flatten()
    return with_places(model, kept)


def masked(model: nn.Module, graph: Graph, masks: Masks) -> nn.Module:
    """A copy of the same size, whose layers read zeros from what the masks remove.

    Raises:
        ValueError: as `remove`.
    """
    found = copy.deepcopy(model)
    with torch.no_grad():
        for name, mask in _checked(graph, masks).items():
            for member in graph.groups[name].readers:
                gone = member.indices[~mask].flatten()
                weight = tensor_of(found, member.tensor)
                weight.index_fill_(member.axis, gone.to(weight.device), 0)
    return found


def reordered(model: nn.Module, graph: Graph, orders: Mapping[str, Tensor]) -> nn.Module:
    """A copy that computes the same with the units of each group in another order.

    Args:
        orders: by group, the unit that comes to each place: `scores.argsort(descending=True)`
            puts the most important first.

    Raises:
        ValueError: an order for no group, or that is no order of its units.
    """
    moved: Axes = {}
    for name, order in orders.items():
        group = _group(graph, name)
        if order.sort().values.tolist() != list(range(group.size)):
            raise ValueError(f"the order of {name!r} does not have each of {group.size} units once")
        for each in group.members:
            key = (each.tensor, each.axis)
            size = tensor_of(model, each.tensor).shape[each.axis]
            places = moved.setdefault(key, torch.arange(size))
            places[each.indices.flatten()] = each.indices[order.cpu()].flatten()
    return with_places(model, moved)


def with_places(model: nn.Module, places: Axes) -> nn.Module:
    """A copy in which each axis has these places of the old one, in this order; some may repeat."""
    found = copy.deepcopy(model)
    holders, trained = owners(found), dict(found.named_parameters())
    new: dict[str, Tensor] = {}
    for (name, axis), index in places.items():
        old = new.get(name, tensor_of(found, name).detach())
        new[name] = old.index_select(axis, index.to(old.device))
    for name, values in new.items():
        old = tensor_of(found, name)
        tensor = nn.Parameter(values, old.requires_grad) if name in trained else values
        for module, child in holders[id(old)]:
            setattr(module, child, tensor)
    for module in found.modules():
        say_sizes_(module)
    return found


def _lost(
    model: nn.Module, graph: Graph, masks: Masks
) -> dict[tuple[str, int], tuple[int, Tensor]]:
    """Of each axis, its size and the places that go."""
    found: dict[tuple[str, int], tuple[int, Tensor]] = {}
    for name, mask in _checked(graph, masks).items():
        for each in graph.groups[name].members:
            size = tensor_of(model, each.tensor).shape[each.axis]
            nothing = torch.zeros(0, dtype=torch.int64)
            _, before = found.get((each.tensor, each.axis), (size, nothing))
            gone = torch.cat([before, each.indices[~mask].flatten()])
            found[each.tensor, each.axis] = (size, gone)
    return found


def _checked(graph: Graph, masks: Masks) -> Masks:
    for name, mask in masks.items():
        group = _group(graph, name)
        if mask.shape != (group.size,) or mask.dtype != torch.bool:
            raise ValueError(
                f"the mask of {name!r} is {mask.dtype} of shape {tuple(mask.shape)}; expected "
                f"{group.size} times True or False"
            )
        if not mask.any():
            raise ValueError(
                f"the mask of {name!r} removes all {group.size} units; keep at least 1"
            )
    return {name: mask.cpu() for name, mask in masks.items()}


def _group(graph: Graph, name: str) -> Group:
    if name not in graph.groups:
        known = ", ".join(graph.groups) or "none"
        raise ValueError(f"there is no group {name!r}; the groups are {known}")
    return graph.groups[name]
