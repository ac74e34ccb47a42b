"""What a pruner is asked, and how its answer comes back. Runs in the pruner's environment.

`python SCRIPT FOLDER` reads FOLDER/task.json, spec.json (of labkit's ResNet), weights.safetensors
and seen.safetensors (images and labels that a criterion may look at), writes one of the following,
and prints one line of JSON.

    network.safetensors    the state of a network that is smaller
    masks.safetensors      by parameter, 1 where a weight is kept
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

BATCHES = 16


@dataclass(frozen=True)
class PruningTask:
    folder: Path
    method: str
    share: float  # of channels or weights to remove; of the MACs that may stay

    def network(self) -> torch.nn.Module:
        from labkit.models import ResNetSpec, build

        spec = json.loads((self.folder / "spec.json").read_text("utf-8"))
        model = build(ResNetSpec(**spec)).eval()
        model.load_state_dict(load_file(self.folder / "weights.safetensors"))
        return model

    def seen(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Images and labels in batches."""
        tensors = load_file(self.folder / "seen.safetensors")
        parts = (tensors[name].chunk(BATCHES) for name in ("images", "labels"))
        return list(zip(*parts, strict=True))


@dataclass(frozen=True)
class Pruned:
    kind: str  # network or masks
    tensors: dict[str, torch.Tensor]


Prune = Callable[[], Pruned]


def answer(package: str, work: dict[str, Callable[[PruningTask], Prune]]) -> None:
    """Run what the task asks for, and report on it.

    Args:
        work: by method, a function that loads everything and gives what is to be timed.
    """
    torch.manual_seed(0)
    folder = Path(sys.argv[1])
    task = PruningTask(folder, **json.loads((folder / "task.json").read_text("utf-8")))
    if task.method not in work:
        print(json.dumps({"unsupported": "not offered"}))
        return
    prune = work[task.method](task)
    start = time.perf_counter()
    pruned = prune()
    seconds = time.perf_counter() - start
    tensors = {name: x.detach().contiguous() for name, x in pruned.tensors.items()}
    save_file(tensors, folder / f"{pruned.kind}.safetensors")
    print(json.dumps({"seconds": seconds, "version": version(package)}))
