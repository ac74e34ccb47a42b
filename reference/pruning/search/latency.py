"""A latency table: layers measured one by one in a few sizes, and what a whole network should take.

    layer       multilinear between the measured sizes, never beyond them
    whole       T = b + a sum_layers t_l(size)          a = 1, b = 0 until whole networks correct it
    additivity  T / measured - 1, for whole networks that were measured too

A sum is wrong by what layers share: caches, fused kernels, threads, the call itself. Its error is
measured and told beside the table, not assumed; a and b take out the part that is proportional or
constant, by least squares of the relative error.

Source    Cai, Zhu and Han, "ProxylessNAS", ICLR 2019, arXiv:1812.00332, section 3.3 (the table);
          Yang et al., "NetAdapt", ECCV 2018, arXiv:1804.03230 (layer-wise look-up tables).
Differs   Interpolates, so that not every width needs a measurement.
Left out  Learned predictors (HAT, 2020); layers that run beside each other.
Read      By itself. What is measured, and how often, is the business of the callable given.
"""

import bisect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Point = tuple[int, ...]  # the size of a layer, such as (channels in, channels out)
Axes = tuple[tuple[int, ...], ...]  # the measured sizes along each number of a point, ascending
Network = Mapping[str, Point]  # the layers that are there, by name
Measure = Callable[[str, Point], float]  # seconds, or any unit, of one layer in one size


@dataclass(frozen=True)
class Grid:
    """One layer: its measurements over all combinations of sizes."""

    axes: Axes
    seconds: Tensor

    def __post_init__(self) -> None:
        shape = tuple(len(axis) for axis in self.axes)
        if not shape or 0 in shape or self.seconds.shape != shape:
            told = f"{shape} sizes and measurements {tuple(self.seconds.shape)}"
            raise ValueError(f"a grid needs one measurement for each combination, got {told}")
        if any(low >= high for axis in self.axes for low, high in itertools.pairwise(axis)):
            raise ValueError(f"sizes must ascend, got {self.axes}")

    def at(self, point: Point) -> float:
        """
        Raises:
            ValueError: a point outside of what was measured, or with too many or few numbers.
        """
        if len(point) != len(self.axes):
            raise ValueError(f"{point} has {len(point)} numbers; expected {len(self.axes)}")
        sides = [_around(axis, size) for axis, size in zip(self.axes, point, strict=True)]
        corners = itertools.product(*sides)
        return sum(
            math.prod(share for _, share in corner)
            * self.seconds[tuple(place for place, _ in corner)].item()
            for corner in corners
        )


@dataclass(frozen=True)
class Whole:
    """A whole network that was measured."""

    network: Network
    seconds: float


@dataclass(frozen=True)
class LatencyTable:
    layers: Mapping[str, Grid]
    factor: float = 1.0  # a
    overhead: float = 0.0  # b

    def predicted(self, network: Network) -> float:
        """
        Raises:
            ValueError: a layer or a size that was not measured.
        """
        if unknown := sorted(network.keys() - self.layers.keys()):
            raise ValueError(f"layer {unknown[0]!r} was not measured; known: {list(self.layers)}")
        total = sum(self.layers[name].at(point) for name, point in network.items())
        return self.overhead + self.factor * total


@dataclass(frozen=True)
class Additivity:
    """How far sums are from whole networks, each as a share of what was measured."""

    errors: tuple[float, ...]  # predicted / measured - 1

    @property
    def mean_absolute(self) -> float:
        return sum(abs(each) for each in self.errors) / len(self.errors)

    @property
    def worst(self) -> float:
        return max(abs(each) for each in self.errors)

    @property
    def bias(self) -> float:
        return sum(self.errors) / len(self.errors)


def measured_table(axes: Mapping[str, Axes], measure: Measure) -> LatencyTable:
    """Every layer in every combination of its sizes.

    Raises:
        ValueError: no layer, sizes that do not ascend, or a time that is not above 0.
    """
    if not axes:
        raise ValueError("a latency table needs at least one layer, got none")
    return LatencyTable({name: _measured(name, each, measure) for name, each in axes.items()})


def additivity(table: LatencyTable, wholes: Sequence[Whole]) -> Additivity:
    """
    Raises:
        ValueError: no network, or one that took no time.
    """
    if not wholes or min(each.seconds for each in wholes) <= 0:
        raise ValueError(f"additivity needs networks with times above 0, got {len(wholes)} in all")
    return Additivity(tuple(table.predicted(each.network) / each.seconds - 1 for each in wholes))


def corrected(table: LatencyTable, wholes: Sequence[Whole]) -> LatencyTable:
    """The table with the a and b that suit these networks best; check it on others.

    Raises:
        ValueError: sums that do not differ, times not above 0, or times that fall as sums rise.
    """
    plain = replace(table, factor=1.0, overhead=0.0)
    sums = torch.tensor([plain.predicted(each.network) for each in wholes], dtype=torch.float64)
    times = torch.tensor([each.seconds for each in wholes], dtype=torch.float64)
    if len(set(sums.tolist())) < 2 or (times <= 0).any():
        raise ValueError("a correction needs networks of two different sums, with times above 0")
    columns = torch.stack((sums / times, 1 / times), dim=1)
    factor, overhead = torch.linalg.lstsq(columns, torch.ones_like(times)).solution.tolist()
    if factor <= 0:
        raise ValueError(f"measured times fall as sums rise: a factor of {factor:g}")
    return replace(table, factor=factor, overhead=overhead)


def _measured(name: str, axes: Axes, measure: Measure) -> Grid:
    times = [measure(name, point) for point in itertools.product(*axes)]
    if not all(0 < each < math.inf for each in times):
        raise ValueError(f"layer {name!r} must take a time above 0, got {min(times)}")
    shape = [len(axis) for axis in axes]
    return Grid(axes, torch.tensor(times, dtype=torch.float64).reshape(shape))


def _around(axis: tuple[int, ...], size: int) -> list[tuple[int, float]]:
    """The measured sizes beside this one, and the share of each."""
    if not axis[0] <= size <= axis[-1]:
        raise ValueError(f"size {size} is outside of what was measured, {axis[0]} to {axis[-1]}")
    place = bisect.bisect_left(axis, size)
    if axis[place] == size:
        return [(place, 1.0)]
    share = (size - axis[place - 1]) / (axis[place] - axis[place - 1])
    return [(place - 1, 1 - share), (place, share)]
