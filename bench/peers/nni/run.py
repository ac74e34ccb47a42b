"""nni 3.0: masks of a ResNet's channels (L1Norm, Taylor) and of its weights (Level).

Its ModelSpeedup needs a patch with this torch, so that channels are removed by this project's
`remove` where nni's masks say. Without dependency groups its masks would differ between layers that
are added to each other, and nothing could be removed.
"""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3])]

import nni
import torch
import torch.nn.functional as F
from nni.compression.pruning import L1NormPruner, LevelPruner, TaylorPruner
from nni.compression.utils import TorchEvaluator, auto_set_denpendency_group_ids
from pruning_task import BATCHES, Prune, Pruned, PruningTask, answer

Masks = dict[str, dict[str, torch.Tensor]]


def channels(task: PruningTask, model: torch.nn.Module) -> list[dict[str, object]]:
    config = [{"op_types": ["Conv2d"], "sparse_ratio": task.share}]
    return auto_set_denpendency_group_ids(model, config, task.seen()[0][0][:2])


def weights(masks: Masks) -> Pruned:
    found = {f"{name}.weight": each["weight"].bool() for name, each in masks.items()}
    return Pruned("masks", found)


def norm(task: PruningTask) -> Prune:
    model = task.network()
    return lambda: weights(L1NormPruner(model, channels(task, model)).compress()[1])


def level(task: PruningTask) -> Prune:
    model = task.network()
    config = [{"op_types": ["Conv2d", "Linear"], "sparse_ratio": task.share}]
    return lambda: weights(LevelPruner(model, config).compress()[1])


def taylor(task: PruningTask) -> Prune:
    model, seen = task.network(), task.seen()

    def step(batch: tuple[torch.Tensor, torch.Tensor], network: torch.nn.Module) -> torch.Tensor:
        return F.cross_entropy(network(batch[0]), batch[1])

    def train(
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        training_step: Callable,
        *_: object,
        **__: object,
    ) -> None:
        for batch in seen:
            optimizer.zero_grad()
            training_step(batch, network).backward()
            optimizer.step()

    def prune() -> Pruned:
        still = nni.trace(torch.optim.SGD)(model.parameters(), lr=0.0)  # it scores, and trains not
        evaluator = TorchEvaluator(train, still, step)
        pruner = TaylorPruner(model, channels(task, model), evaluator, training_steps=BATCHES)
        return weights(pruner.compress(None, None)[1])

    return prune


if __name__ == "__main__":
    answer("nni", {"filter norms": norm, "Taylor": taylor, "magnitude, by layer": level})
