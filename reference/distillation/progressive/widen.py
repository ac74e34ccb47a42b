"""Net2Wider: more channels or neurons, and the same function.

    g(j) = j for the old units, a random old unit for each new one         c_i = #{j : g(j) = i}
    what makes unit j     row g(j)
    what reads unit j     column g(j) / c_g(j)        so that the copies add up to what one was

Norms and biases are copied with the unit, so the copies are equal whatever pointwise function and
batch norm is between, in training as in eval. Units that are coupled, as by a shortcut, are widened
together: the dependency graph of structured pruning says which. It has no group for channels over
which a layer norm or a mean is taken, as that would see the copies; of a group norm a unit is one
of its groups. Equal copies would learn the same
for ever if they were read alike; noise on the copies' rows breaks that, and the exactness.

Source    Chen, Goodfellow, Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR
          2016, arXiv:1511.05641, section 2.2.
Differs   Copies stand beside the unit that they copy, not at the end: runs after a flattening and
          offsets after a concatenation stay in order.
Left out  Attention heads and the residual stream of Transformers, whose layer norms see the copies.
Read      reference/pruning/structured/groups.py and architecture.py first; preserved.py.
"""

import copy
from collections.abc import Mapping

import torch
from jaxtyping import Int
from torch import Tensor, nn

from reference import walk
from reference.distillation.progressive.preserved import refuse_change
from reference.pruning.structured.architecture import architecture, block_widths
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.groups import Graph, tensor_of
from reference.pruning.structured.remove import Axes, with_places
from reference.pruning.structured.slices import cut_inputs_, cut_outputs_, of_outputs
from reference.pruning.structured.transformer_config import describe_

Counts = Int[Tensor, " units"]  # how often each unit is there afterwards


def widen(
    model: nn.Module,
    example: walk.Batch,
    sizes: Mapping[str, int],
    generator: torch.Generator,
    noise: float = 0.0,
) -> nn.Module:
    """A wider copy of a network that `dependency_graph` can follow.

    Args:
        sizes: units by the name of the group; groups that are not named stay.
        noise: standard deviation of what is added to the copies' rows, over that of the weight.

    Raises:
        ValueError: no such group, fewer units than there are, noise below 0, or a network that does
            not compute the same when it is wider.
    """
    if noise < 0:
        raise ValueError(f"noise must be at least 0, got {noise}")
    graph = dependency_graph(model, example)
    counts = {name: _drawn(graph, name, size, generator) for name, size in sizes.items()}
    places: Axes = {}
    for name, each in counts.items():
        _lay_out_(places, model, graph, name, each)
    found = with_places(model, places)
    with torch.no_grad():
        _share_out_(found, graph, counts, places)
    refuse_change(model, found, example, "groups of a convolution or a norm would mix the copies")
    if noise:
        _disturb_(found, graph, counts, places, noise, generator)
    return found


def widen_neurons(
    model: nn.Module, sizes: Mapping[str, int], generator: torch.Generator
) -> nn.Module:
    """A Transformer whose FFNs have so many neurons, by the name of the block.

    Raises:
        ValueError: no such block, or fewer neurons than there are.
    """
    found = copy.deepcopy(model)
    blocks = {block.name: block for block in architecture(found).blocks}
    for name, size in sizes.items():
        if name not in blocks:
            raise ValueError(f"there is no block {name!r}; expected one of {', '.join(blocks)}")
        block = blocks[name]
        counts = _counts(name, block_widths(found, block).ffn, size, generator)
        kept = torch.arange(len(counts)).repeat_interleave(counts)
        for inward in block.inward:
            cut_outputs_(found.get_submodule(inward), kept)
        contract = found.get_submodule(block.contract)
        cut_inputs_(contract, kept)
        with torch.no_grad():
            weight = of_outputs(contract)
            weight.div_(counts[kept].to(weight))
    return describe_(found)


def _drawn(graph: Graph, name: str, size: int, generator: torch.Generator) -> Counts:
    if name not in graph.groups:
        known = ", ".join(graph.groups) or "none"
        raise ValueError(f"there is no group {name!r}; the groups are {known}")
    return _counts(name, graph.groups[name].size, size, generator)


def _counts(name: str, old: int, new: int, generator: torch.Generator) -> Counts:
    if new < old:
        raise ValueError(f"{name!r} has {old} units and cannot be widened to {new}")
    copied = torch.randint(old, (new - old,), generator=generator)
    return 1 + torch.bincount(copied, minlength=old)


def _lay_out_(places: Axes, model: nn.Module, graph: Graph, name: str, counts: Counts) -> None:
    """Put each unit's copies beside it, on every axis on which the group lies."""
    for member in graph.groups[name].members:
        key = (member.tensor, member.axis)
        size = tensor_of(model, member.tensor).shape[member.axis]
        axis = places.get(key, torch.arange(size))
        times = dict(enumerate(counts.tolist()))
        runs = {int(row[0]): (row, times[unit]) for unit, row in enumerate(member.indices)}
        places[key] = _repeated(axis, runs)


def _repeated(axis: Tensor, runs: dict[int, tuple[Tensor, int]]) -> Tensor:
    """The axis with neighbouring places of a unit repeated as one, others by themselves."""
    times: dict[int, tuple[int, int]] = {}  # where a stretch begins -> its length, its copies
    for row, count in runs.values():
        breaks = (row.diff() != 1).nonzero().flatten() + 1
        for stretch in torch.tensor_split(row, breaks):
            times[int(stretch[0])] = (len(stretch), count)
    found, at, old = [], 0, axis.tolist()
    while at < len(old):
        length, count = times.get(old[at], (1, 1))
        found += old[at : at + length] * count
        at += length
    return torch.tensor(found)


def _share_out_(model: nn.Module, graph: Graph, counts: Mapping[str, Counts], places: Axes) -> None:
    """Divide what reads a unit by how often it is there now."""
    for name, each in counts.items():
        for member in graph.groups[name].readers:
            tensor = tensor_of(model, member.tensor)
            divisor = torch.ones(int(places[member.tensor, member.axis].max()) + 1)
            divisor[member.indices] = each.to(divisor).unsqueeze(1).expand_as(member.indices)
            shape = [1] * tensor.ndim
            shape[member.axis] = -1
            tensor.div_(divisor[places[member.tensor, member.axis]].view(shape).to(tensor))


@torch.no_grad()
def _disturb_(
    model: nn.Module,
    graph: Graph,
    counts: Mapping[str, Counts],
    places: Axes,
    noise: float,
    generator: torch.Generator,
) -> None:
    """Add noise to what makes the copies, and not to the units that were there."""
    for name in counts:
        for member in graph.groups[name].makers:
            tensor = tensor_of(model, member.tensor)
            if tensor.ndim == 1:
                continue
            moved = tensor.movedim(member.axis, 0)
            drawn = torch.randn(moved.shape, generator=generator).to(moved) * moved.std()
            drawn[_first_of_each(places[member.tensor, member.axis])] = 0
            moved.add_(noise * drawn)


def _first_of_each(order: Tensor) -> Tensor:
    seen: dict[int, int] = {}
    for at, place in enumerate(order.tolist()):
        seen.setdefault(place, at)
    return torch.tensor(list(seen.values()))
