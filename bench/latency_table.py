"""How well a table of layers predicts whole networks in ONNX Runtime.

    python -m bench.latency_table

labkit's residual network with the inner width of every block free. Stem, blocks and head are
measured one by one at three widths each; then whole networks with random widths, half of which
correct the table and half of which say how far off it is. Milliseconds of CPU time of one thread on
batches of 16, medians; a time changes from machine to machine, and so does the error.
"""

import statistics
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from labkit import timing
from labkit.export import fp32
from labkit.export.signature import images
from labkit.models.resnet import ResNet
from labkit.models.specs import ResNetSpec
from reference import walk
from reference.pruning.search.latency import (
    LatencyTable,
    Point,
    Whole,
    additivity,
    corrected,
    measured_table,
)
from reference.pruning.search.residual import residual_supernet
from reference.pruning.search.supernet import Supernet, extracted

BATCH = 16
CALLS = 60
NETWORKS = 16
SHARES = (4, 2, 1)  # measured widths: a quarter, a half, all
STEPS = (8, 4)  # of random widths; kernels work on blocks of 8 channels and more


class _Stem(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.stem = network.stem

    def forward(self, x: Tensor) -> Tensor:
        return self.stem(x).relu()


class _Head(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.head = network.head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.mean(dim=(2, 3)))


class Machine:
    """This one: times of parts of a supernet, and of its subnets."""

    def __init__(self, supernet: Supernet, folder: Path) -> None:
        self.supernet = supernet
        self.folder = folder
        self.inner = [each for each in supernet.widths if each.name.endswith("inner")]
        names = [f"blocks.{place}" for place in range(len(self.inner))]
        sample = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        seen = walk.layer_inputs(supernet.network, names, [sample])
        last = walk.outputs(supernet.network, names[-1:], [sample])[names[-1]][0]
        self.shapes = {name: tuple(found[0].shape[1:]) for name, found in seen.items()}
        self.shapes |= {"stem": (3, 32, 32), "head": tuple(last.shape[1:])}

    def part(self, name: str, point: Point) -> float:
        network = self.supernet.network
        if name == "stem":
            return self._milliseconds(_Stem(network), self.shapes[name])
        if name == "head":
            return self._milliseconds(_Head(network), self.shapes[name])
        width = f"block{name.removeprefix('blocks.')}.inner"
        subnet = extracted(self.supernet, {width: point[0]})
        return self._milliseconds(subnet.get_submodule(name), self.shapes[name])

    def whole(self, widths: dict[str, int]) -> Whole:
        subnet = extracted(self.supernet, widths)
        points = {f"blocks.{place}": (size,) for place, size in enumerate(widths.values())}
        channels = self.shapes["blocks.0"][0]
        network = {"stem": (channels,), **points, "head": (self.shapes["head"][0],)}
        return Whole(network, self._milliseconds(subnet, self.shapes["stem"]))

    def _milliseconds(self, network: nn.Module, shape: tuple[int, ...]) -> float:
        path = fp32.to_onnx(network.eval(), self.folder / "part.onnx", images(shape))
        pairs = timing.time_pairs(path, path, (BATCH, *shape), CALLS, seed=0)
        return statistics.median(each.baseline_cpu_ms for each in pairs)


def main() -> None:
    torch.manual_seed(0)
    supernet = residual_supernet(ResNet(ResNetSpec()).eval())
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(supernet, Path(folder))
        axes = {
            f"blocks.{place}": (tuple(each.channels // share for share in SHARES),)
            for place, each in enumerate(machine.inner)
        }
        ends = {name: ((machine.shapes[at][0],),) for name, at in _ENDS.items()}
        table = measured_table({**axes, **ends}, machine.part)
        for step in STEPS:
            numbers = torch.Generator().manual_seed(1)
            wholes = [machine.whole(_drawn(machine, step, numbers)) for _ in range(NETWORKS)]
            _report(step, table, wholes)


def _report(step: int, table: LatencyTable, wholes: list[Whole]) -> None:
    teach, check = wholes[::2], wholes[1::2]
    times = [each.seconds for each in check]
    print(f"widths in steps of {step}: {len(check)} networks, {min(times):.1f}-{max(times):.1f} ms")
    for title, each in (("sum of parts", table), ("corrected", corrected(table, teach))):
        error = additivity(each, check)
        errors = f"mean |error| {error.mean_absolute:.1%}, worst {error.worst:.1%}"
        line = f"a {each.factor:.3f}, b {each.overhead:+.3f} ms"
        print(f"    {title:13} {errors}, bias {error.bias:+.1%}; {line}")


_ENDS = {"stem": "blocks.0", "head": "head"}  # whose channels are those of the layer


def _drawn(machine: Machine, step: int, numbers: torch.Generator) -> dict[str, int]:
    """Widths from a quarter to all: between those that were measured, too."""
    found = {}
    for each in machine.inner:
        steps = (each.channels - each.channels // 4) // step
        chosen = int(torch.randint(steps + 1, (1,), generator=numbers))
        found[each.name] = each.channels // 4 + step * chosen
    return found


if __name__ == "__main__":
    main()
