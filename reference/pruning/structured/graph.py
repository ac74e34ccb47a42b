"""The dependency graph of a network: which slices of which parameters are one channel.

The network is followed on an example (propagate.py). Every parameter axis then has a unit for each
of its places, and units that were joined on the way are one. A unit that stays, because a result
or an input depends on its place, belongs to no group.

    conv a (8 out) + conv b (8 out) -> norm -> flatten 8 x 2 x 2 -> linear
    one group of 8 units, unit i: a.weight[i], b.weight[i], norm.*[i], linear.weight[:, 4i .. 4i+3]

Source    Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, arXiv:2301.12900,
          section 3.2 (dependencies inside and between layers, groups as connected components).
Differs   Components of single channels, not of layers: offsets after a concatenation, runs after a
          flattening and the turns of a channel shuffle come out by themselves.
Left out  Products of activations (attention), recurrent layers, transposed convolutions: refused.
Read      groups.py first.
"""

import torch
from torch import nn

from reference import walk
from reference.pruning.structured.groups import Graph, Group, Member
from reference.pruning.structured.propagate import followed
from reference.pruning.structured.propagate_follow import Following

Places = dict[int, list[int]]  # of each unit along one axis of one tensor


def dependency_graph(model: nn.Module, example: walk.Batch) -> Graph:
    """The groups of a model that takes such inputs, in the order in which it uses them.

    Args:
        example: one batch, a tensor or arguments by name. Its values do not matter; the sizes of
            images do where the network flattens them.

    Raises:
        ValueError: an operation without a rule meets channels that could be removed; it is named.
    """
    following = followed(model, example)
    places = {key: _places(following, claim.labels) for key, claim in following.claims.items()}
    groups: dict[str, Group] = {}
    for units in _alike(places).values():
        members = tuple(
            Member(*key, following.claims[key].kind, torch.tensor([axis[u] for u in units]))
            for key, axis in places.items()
            if units[0] in axis
        )
        groups[_name(members, groups)] = Group(members)
    return Graph(groups, _staying(following))


def _places(following: Following, labels: torch.Tensor) -> Places:
    """Of the units that may go, in order."""
    found: Places = {}
    for place, unit in enumerate(following.units.current(labels).tolist()):
        found.setdefault(unit, []).append(place)
    whys = following.units.whys(list(found))
    return {unit: run for (unit, run), why in zip(found.items(), whys, strict=True) if why is None}


def _alike(places: dict[tuple[str, int], Places]) -> dict[tuple[object, ...], list[int]]:
    """Units by where they lie: the same axes, as many places on each."""
    homes: dict[int, list[tuple[object, ...]]] = {}
    for key, axis in places.items():
        for unit, run in axis.items():
            homes.setdefault(unit, []).append((*key, len(run)))
    found: dict[tuple[object, ...], list[int]] = {}
    for unit, home in homes.items():
        found.setdefault(tuple(home), []).append(unit)
    return found


def _name(members: tuple[Member, ...], taken: dict[str, Group]) -> str:
    """The tensor that makes the units; a number where it makes units of several groups."""
    first = next((each for each in members if each.kind == "makes"), members[0]).tensor
    names = [first, *(f"{first}, part {number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _staying(following: Following) -> dict[str, str]:
    found: dict[str, str] = {}
    for (tensor, _), claim in following.claims.items():
        if claim.kind == "makes":
            for why in filter(None, following.units.whys(claim.labels.tolist())):
                found.setdefault(tensor, why)
    return found
