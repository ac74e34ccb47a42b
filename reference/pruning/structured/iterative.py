"""Removing channels little by little: score, remove, train, and look again at what is left.

    for each ratio of a rising schedule
        graph and scores of the network as it is now
        masks <- the lowest of all units that there were go; what has gone stays gone
        remove, then train                                 every round trains a smaller network

Ratios are shares of the units at the start, so that many small steps remove as many as a single
one: counted against what is left, a twentieth of 8 channels would be none in each of any number of
rounds. Without training, and with scores that do not follow what else is removed, the rounds end at
the network of one step. A group whose couplings change on the way keeps what it has from then on:
a grouped convolution with one channel left in each group is depthwise.

Source    Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
          Inference", ICLR 2017, arXiv:1611.06440, section 2 (rank, remove, fine-tune, repeat).
Differs   They remove one feature map at a time; here a schedule says how many.
Left out  Stopping by a loss: look at the rounds.
Read      channels.py and remove.py first; schedules.py has ratios. rewinding.py: for weights.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reference import walk
from reference.pruning.masks import Masks, within
from reference.pruning.structured.channels import by_group
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.groups import Graph
from reference.pruning.structured.importance import Scores
from reference.pruning.structured.remove import remove


class RemovalRound(NamedTuple):
    model: nn.Module  # smaller, and trained
    masks: Masks  # over the units at the start


def iterative_removal(
    model: nn.Module,
    example: walk.Batch,
    ratios: Sequence[float],
    score: Callable[[nn.Module, Graph], Scores],
    train: Callable[[nn.Module], None],
    choose: Callable[[Graph, Scores, float], Masks] = by_group,
) -> list[RemovalRound]:
    """Every round gives a network of its own; the model is not modified.

    Args:
        ratios: of the units at the start, rising: Schedule(...).values().
        train: in place. Its optimizer is made anew: sizes have changed.
        choose: `by_group` or `overall`, the rest of their arguments given.

    Raises:
        ValueError: no ratios, or they fall; what `dependency_graph`, `score` and `choose` refuse.
    """
    if not ratios or list(ratios) != sorted(ratios):
        raise ValueError(f"iterative removal needs ratios that rise, got {list(ratios)}")
    whole = dependency_graph(model, example)
    masks = {name: torch.ones(group.size, dtype=torch.bool) for name, group in whole.groups.items()}
    rounds: list[RemovalRound] = []
    for ratio in ratios:
        graph = dependency_graph(model, example)
        scores = score(model, graph)
        same = [name for name in masks if _size(graph, name) == int(masks[name].sum())]
        known = {name: torch.zeros(len(mask)) for name, mask in masks.items()}
        known |= {name: _at_their_places(scores[name], masks[name]) for name in same}
        chosen = choose(whole, within(known, masks), ratio)
        model = remove(model, graph, {name: chosen[name][masks[name]] for name in same})
        train(model)
        masks = masks | {name: chosen[name] for name in same}
        rounds.append(RemovalRound(model, masks))
    return rounds


def _size(graph: Graph, name: str) -> int:
    return graph.groups[name].size if name in graph.groups else 0


def _at_their_places(left: Tensor, mask: Tensor) -> Tensor:
    """Scores of the units that are left, among all that there were."""
    found = torch.zeros(len(mask), dtype=left.dtype)
    found[mask] = left.cpu()
    return found
