"""torch.nn.utils.prune, which comes with torch: masks by magnitude."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3])]

from pruning_task import Prune, Pruned, PruningTask, answer
from torch import nn
from torch.nn.utils import prune


def layers(model: nn.Module) -> dict[str, nn.Module]:
    kinds = (nn.Conv2d, nn.Linear)
    return {name: each for name, each in model.named_modules() if isinstance(each, kinds)}


def masks(model: nn.Module) -> Pruned:
    found = {f"{name}.weight": each.weight_mask.bool() for name, each in layers(model).items()}
    return Pruned("masks", found)


def overall(task: PruningTask) -> Prune:
    model = task.network()
    weights = [(each, "weight") for each in layers(model).values()]

    def run() -> Pruned:
        prune.global_unstructured(weights, prune.L1Unstructured, amount=task.share)
        return masks(model)

    return run


def by_layer(task: PruningTask) -> Prune:
    model = task.network()

    def run() -> Pruned:
        for each in layers(model).values():
            prune.l1_unstructured(each, "weight", amount=task.share)
        return masks(model)

    return run


if __name__ == "__main__":
    answer("torch", {"magnitude, overall": overall, "magnitude, by layer": by_layer})
