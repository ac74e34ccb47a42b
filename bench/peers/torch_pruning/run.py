"""torch-pruning 1.6: channels of a ResNet by the L2 norms of groups and by Taylor importance.

Its Taylor criterion is |w g| summed over the weights of a whole group, g of the mean loss.
"""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3])]

import torch
import torch.nn.functional as F
import torch_pruning as tp
from pruning_task import Prune, Pruned, PruningTask, answer

STEPS = 50  # of pruning towards a number of MACs, the gradients taken once


def pruner(
    model: torch.nn.Module, example: torch.Tensor, importance: Callable, **how: object
) -> tp.pruner.BasePruner:
    return tp.pruner.BasePruner(
        model, example, importance=importance, ignored_layers=[model.head], **how
    )


def differentiate(model: torch.nn.Module, task: PruningTask) -> None:
    seen = task.seen()
    for images, labels in seen:
        (F.cross_entropy(model(images), labels) / len(seen)).backward()


def norm(task: PruningTask) -> Prune:
    model, example = task.network(), task.seen()[0][0][:2]

    def prune() -> Pruned:
        importance = tp.importance.GroupMagnitudeImportance(p=2)
        pruner(model, example, importance, pruning_ratio=task.share).step()
        return Pruned("network", model.state_dict())

    return prune


def taylor(task: PruningTask) -> Prune:
    model, example = task.network(), task.seen()[0][0][:2]

    def prune() -> Pruned:
        differentiate(model, task)
        importance = tp.importance.GroupTaylorImportance()
        pruner(model, example, importance, pruning_ratio=task.share).step()
        return Pruned("network", model.state_dict())

    return prune


def taylor_overall(task: PruningTask) -> Prune:
    model, example = task.network(), task.seen()[0][0][:2]

    def prune() -> Pruned:
        differentiate(model, task)
        importance = tp.importance.GroupTaylorImportance()
        budget = task.share * tp.utils.count_ops_and_params(model, example)[0]
        steps = pruner(
            model,
            example,
            importance,
            pruning_ratio=1.0,
            max_pruning_ratio=0.95,
            iterative_steps=STEPS,
            global_pruning=True,
        )
        while tp.utils.count_ops_and_params(model, example)[0] > budget:
            steps.step()
        return Pruned("network", model.state_dict())

    return prune


if __name__ == "__main__":
    answer(
        "torch-pruning",
        {"group norms": norm, "Taylor": taylor, "Taylor, overall": taylor_overall},
    )
