"""What a peer is asked, and how its answer is measured. Runs in the peer's environment.

`python bench/peers/PEER/run.py FOLDER` reads FOLDER/task.json and its tensors, writes
FOLDER/result.safetensors, and prints one line of JSON. A peer knows nothing of this project.

    task    in                                                          out
    layer   layer.safetensors: weight (d_out, d_in), inputs             weight, dequantized
    llama   model/ (transformers), tokens.safetensors: tokens           linear weights by name
    resnet  model.onnx; weights.safetensors and spec.json; images,      result.onnx, or logits
            to calibrate; hidden images (hidden.safetensors)            of the hidden images
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

THREADS = 2


class Unsupported(Exception):
    """The peer has no such method; the benchmark says so in its table."""


@dataclass(frozen=True)
class Task:
    folder: Path
    name: str  # layer, llama or resnet
    method: str  # rtn, gptq, awq, static ...
    bits: int
    group_size: int
    act_order: bool

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        return load_file(self.folder / f"{name}.safetensors")

    @property
    def batches(self) -> list[torch.Tensor]:
        """Calibration windows, eight to a batch."""
        return list(self.tensors("tokens")["tokens"].split(8))


def answer(package: str, work: dict[tuple[str, str], Callable[[Task], "Prepared"]]) -> None:
    """Run what the task asks for, and report on it.

    Args:
        work: by task and method, a function that loads everything and gives what is to be timed.
    """
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    folder = Path(sys.argv[1])
    task = Task(folder, **json.loads((folder / "task.json").read_text("utf-8")))
    if (task.name, task.method) not in work:
        print(json.dumps({"unsupported": f"no {task.method} for a {task.name}"}))
        return
    prepared = work[task.name, task.method](task)
    _forget_peak()
    before = _status("VmRSS")
    start = time.perf_counter()
    prepared.quantize()
    seconds = time.perf_counter() - start
    peak = (_status("VmHWM") - before) / 1024
    result = {name: x.detach().float().contiguous() for name, x in prepared.result().items()}
    save_file(result, folder / "result.safetensors")
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "version": version(package)}))


@dataclass(frozen=True)
class Prepared:
    quantize: Callable[[], object]  # timed
    result: Callable[[], dict[str, torch.Tensor]]  # afterwards


def linear(tensors: dict[str, torch.Tensor]) -> torch.nn.Linear:
    """A layer that holds the task's weight."""
    d_out, d_in = tensors["weight"].shape
    layer = torch.nn.Linear(d_in, d_out, bias=False)
    layer.weight.data = tensors["weight"].clone()
    return layer


def weight_of(
    layer: torch.nn.Module, d_in: int, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """What a quantized layer multiplies by, read off by sending it the unit vectors."""
    with torch.no_grad():
        return layer(torch.eye(d_in, dtype=dtype)).float().T


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _status(key: str) -> int:
    """KiB, from the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))
