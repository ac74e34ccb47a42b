"""Part of bench.pruning: one ResNet pruned by every library, then fine-tuned by us, all alike.

Each library runs in a process of its own (bench/peers), and gives back a smaller network or masks.
From there on nothing differs: the same fine-tuning on the same images in the same order, the same
measurements. Where two libraries give back the same network, to the bit, it is fine-tuned once.

    norms, Taylor      half of the channels of every group: the same shapes for everybody. Norms are
                       L1 of filters, or L2 of groups: filters, what reads them, and their norms
    Taylor, overall    channels of all groups compared, to a quarter of the MACs
    magnitude          nine of ten weights, of all layers together or of each
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.peers.environments import python_of
from bench.pruning_structured import CALIBRATION, Row, sizes
from bench.pruning_tuning import Budget, Subject, batches, subject
from labkit import footprint
from labkit.baselines.resnet_cifar10 import RECIPE
from reference.pruning.masked_training import masked_training
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.pruned_state import with_pruned_state
from reference.pruning.structured.remove import remove
from reference.pruning.weights import apply_masks_

PEERS = Path(__file__).parent / "peers"
OURS = "ours"
SCRIPTS = {
    OURS: "ours_pruning/run.py",
    "torch-pruning": "torch_pruning/run.py",
    "nni": "nni/run.py",
    "torch.nn.utils.prune": "torch_prune/run.py",
}
HERE = (OURS, "torch.nn.utils.prune")  # run in this project's environment
METHODS = {  # what is asked, how much of it, and who has it
    "filter norms": (0.5, (OURS, "nni")),
    "group norms": (0.5, (OURS, "torch-pruning")),
    "Taylor": (0.5, (OURS, "torch-pruning", "nni")),
    "Taylor, overall": (0.25, (OURS, "torch-pruning")),
    "magnitude, overall": (0.9, (OURS, "torch.nn.utils.prune")),
    "magnitude, by layer": (0.9, (OURS, "torch.nn.utils.prune", "nni")),
}
EPOCHS, ROWS = 1, 10_000  # of the fine-tuning, which is short: it compares


@dataclass(frozen=True)
class Pruned:
    """What a library gave back, as a network with its zeros, and what must stay zero."""

    model: nn.Module
    masks: dict[str, Tensor]  # empty where channels were removed

    @property
    def digest(self) -> str:
        found = sha256()
        for name, value in sorted(self.model.state_dict().items()):
            found.update(name.encode() + value.contiguous().numpy().tobytes())
        return found.hexdigest()


def peers_part(budget: Budget) -> Iterator[Row]:
    of = subject(RECIPE.name, replace(budget, rows=budget.rows or ROWS))
    known: dict[str, Row] = {}
    for method, (share, libraries) in METHODS.items():
        first: dict[str, float] = {}
        for library in libraries:
            with tempfile.TemporaryDirectory() as name:
                said = asked(library, method, share, of, Path(name))
                row: Row = {"method": method, "library": f"{library} {said.get('version', '')}"}
                if "seconds" not in said:
                    yield {**row, "seconds": said["refused"]}
                    continue
                pruned = read(of, Path(name))
            first.setdefault(OURS, said["seconds"])
            times = {"seconds": said["seconds"], "to ours": said["seconds"] / first[OURS]}
            digest = pruned.digest  # before the network is trained
            if digest not in known:
                known[digest] = quality(of, pruned)
            yield {**row, **times, **known[digest]}


def asked(library: str, method: str, share: float, of: Subject, folder: Path) -> dict:
    """The line that a library printed, or `refused` with why there is none."""
    write(of, method, share, folder)
    script = PEERS / SCRIPTS[library]
    python = sys.executable if library in HERE else str(python_of(script.parent.name))
    done = subprocess.run(
        [python, str(script), str(folder)],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return {"refused": f"failed: {lines[-1][:80]}"}
    said = json.loads(done.stdout.splitlines()[-1])
    return {"refused": said["unsupported"]} if "unsupported" in said else said


def write(of: Subject, method: str, share: float, folder: Path) -> None:
    (folder / "task.json").write_text(json.dumps({"method": method, "share": share}))
    (folder / "spec.json").write_text(json.dumps(asdict(RECIPE.spec)), encoding="utf-8")
    save_file(of.dense.state_dict(), folder / "weights.safetensors")
    seen = batches(of, *CALIBRATION)
    tensors = {name: torch.cat([each[name] for each in seen]) for name in seen[0]}
    save_file(tensors, folder / "seen.safetensors")


def read(of: Subject, folder: Path) -> Pruned:
    """A network of the given shapes; or the dense one under masks. Masks that keep or remove whole
    rows speak of channels, which are removed."""
    if (folder / "network.safetensors").is_file():
        state = load_file(folder / "network.safetensors")
        return Pruned(with_pruned_state(of.dense, state), {})
    masks = {name: each.bool() for name, each in load_file(folder / "masks.safetensors").items()}
    rows = {name: each.flatten(1) for name, each in masks.items()}
    if all(torch.equal(each.any(1), each.all(1)) for each in rows.values()):
        return Pruned(_without(of, {name: each.any(1) for name, each in rows.items()}), {})
    model = of.fresh()
    apply_masks_(model, masks)
    return Pruned(model, masks)


def _without(of: Subject, kept: dict[str, Tensor]) -> nn.Module:
    graph = dependency_graph(of.dense, batches(of, 1, 2)[0]["images"])
    makers = {name: group.makers[0] for name, group in graph.groups.items()}
    units = {name: kept[each.tensor][each.indices[:, 0]] for name, each in makers.items()}
    return remove(of.dense, graph, units)


def quality(of: Subject, pruned: Pruned) -> Row:
    """Validation before and after the fine-tuning, and what the network takes."""
    model = pruned.model
    before = of.accuracy(model)
    with masked_training(model, pruned.masks) if pruned.masks else nullcontext():
        of.tuned_(model, EPOCHS)
    found: Row = {"before %": before, "after %": of.accuracy(model)} | sizes(of, model)
    if pruned.masks:
        zeros = footprint.sparsity(model, model.state_dict())
        found["sparsity"] = f"{zeros.of_prunable:.2%}"
    return found
