"""This project's own pruners, asked as the peers are."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3])]

import torch
import torch.nn.functional as F
from pruning_task import Prune, Pruned, PruningTask, answer

from reference.pruning.magnitude import magnitude_scores
from reference.pruning.masks import global_masks, layer_masks
from reference.pruning.structured.channels import by_group, overall, within_budget
from reference.pruning.structured.costs import costs
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.groups import Graph
from reference.pruning.structured.importance import Scores, filter_norms, group_norms, normalised
from reference.pruning.structured.importance_taylor import gate_scores
from reference.pruning.structured.remove import remove

Criterion = Callable[[torch.nn.Module, Graph], Scores]


def loss_of(model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def norm(criterion: Criterion, task: PruningTask) -> Prune:
    model, example = task.network(), task.seen()[0][0][:2]

    def prune() -> Pruned:
        graph = dependency_graph(model, example)
        masks = by_group(graph, criterion(model, graph), task.share)
        return Pruned("network", remove(model, graph, masks).state_dict())

    return prune


def taylor(task: PruningTask) -> Prune:
    model, seen = task.network(), task.seen()

    def prune() -> Pruned:
        graph = dependency_graph(model, seen[0][0][:2])
        masks = by_group(graph, gate_scores(model, graph, seen, loss_of, "norms"), task.share)
        return Pruned("network", remove(model, graph, masks).state_dict())

    return prune


def taylor_overall(task: PruningTask) -> Prune:
    model, seen = task.network(), task.seen()
    example = seen[0][0][:2]

    def prune() -> Pruned:
        graph = dependency_graph(model, example)
        scores = normalised(gate_scores(model, graph, seen, loss_of, "norms"), by="mean")
        cost = lambda masks: float(costs(remove(model, graph, masks), example).macs)  # noqa: E731
        budget = task.share * costs(model, example).macs
        masks = within_budget(partial(overall, graph, scores), cost, budget)
        return Pruned("network", remove(model, graph, masks).state_dict())

    return prune


def magnitude(task: PruningTask) -> Prune:
    model = task.network()
    return lambda: Pruned("masks", global_masks(magnitude_scores(model), task.share))


def magnitude_by_layer(task: PruningTask) -> Prune:
    model = task.network()

    def prune() -> Pruned:
        scores = magnitude_scores(model)
        return Pruned("masks", layer_masks(scores, dict.fromkeys(scores, task.share)))

    return prune


if __name__ == "__main__":
    answer(
        "compression-course",
        {
            "filter norms": partial(norm, filter_norms),
            "group norms": partial(norm, group_norms),
            "Taylor": taylor,
            "Taylor, overall": taylor_overall,
            "magnitude, overall": magnitude,
            "magnitude, by layer": magnitude_by_layer,
        },
    )
