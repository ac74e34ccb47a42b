"""A supernet: one set of weights in which every narrower and shallower network is a slice.

    width c_k     the first c_k channels of group k in every tensor that holds the group: outputs of
                  the layers that write it, inputs of the layers that read it, norms between
    depth d_k     the first d_k of the blocks that may be skipped
    subnet        network with tensors w[:c_i, :c_j, ...]: views, so that gradients and running
                  statistics go to the shared ones

No layer is written anew: the network stays what it is and runs with the slices in place of its
tensors. A subnet taken out has copies of them, and gives the same answers bit for bit.

Source    Yu et al., "Slimmable Neural Networks", ICLR 2019, arXiv:1812.08928; Yu and Huang,
          "Universally Slimmable Networks", ICCV 2019, arXiv:1903.05134; Cai et al.,
          "Once-for-All", ICLR 2020, arXiv:1908.09791 (depth).
Left out  Elastic kernel sizes and resolutions; norms of their own for each width.
Read      space.py first. residual.py knows a family; sorting.py puts the best channels first;
          sandwich.py trains, recalibration.py measures the statistics of a subnet.
"""

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from reference.pruning.search.space import Candidate, Choice, Constraint, Space
from reference.pruning.structured.module_sizes import say_sizes_

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear, _BatchNorm)  # they ask their tensors for sizes


class Slot(NamedTuple):
    """An axis of a parameter or buffer, by the name in the state of the network."""

    tensor: str
    axis: int


@dataclass(frozen=True)
class Width:
    """Channels that are cut together, wherever they occur."""

    name: str
    channels: int
    slots: tuple[Slot, ...]


@dataclass(frozen=True)
class Depth:
    """Blocks of an `nn.Sequential` that may be skipped, the last ones first."""

    name: str
    blocks: tuple[str, ...]  # names of modules


@dataclass(frozen=True)
class Supernet:
    """
    Raises:
        ValueError: two groups of a name, an unknown block or tensor, an axis of another size, or a
            layer that does not work on slices of its tensors.
    """

    network: nn.Module
    widths: tuple[Width, ...]
    depths: tuple[Depth, ...] = ()

    def __post_init__(self) -> None:
        names = list(self.most)
        if len(names) < len(self.widths) + len(self.depths):
            raise ValueError(f"widths and depths need distinct names, got {names}")
        state = tensors(self.network)
        for width in self.widths:
            for tensor, axis in width.slots:
                if tensor not in state or state[tensor].shape[axis] != width.channels:
                    told = tuple(state[tensor].shape) if tensor in state else "no shape"
                    where = f"axis {axis} of {tensor!r}, which has {told}"
                    raise ValueError(f"{width.name!r}: no {width.channels} channels on {where}")
                _check_layer(self.network, tensor)
        modules = dict(self.network.named_modules())
        for name in (block for depth in self.depths for block in depth.blocks):
            if name not in modules or type(modules[name.rpartition(".")[0]]) is not nn.Sequential:
                raise ValueError(f"{name!r} is no member of a Sequential, and cannot be skipped")

    @property
    def most(self) -> dict[str, int]:
        """The whole network: the channels of each width, the blocks of each depth."""
        widths = {each.name: each.channels for each in self.widths}
        return widths | {each.name: len(each.blocks) for each in self.depths}

    def space(
        self, values: Mapping[str, tuple[int, ...]], constraints: tuple[Constraint, ...] = ()
    ) -> Space:
        """The space of these widths and depths; those without values stay whole.

        Raises:
            ValueError: a name or a size that this network has not; what `Space` refuses.
        """
        for name in values:
            for size in values[name]:
                self._check({name: size})
        choices = [Choice(name, tuple(sorted(sizes))) for name, sizes in values.items()]
        return Space(tuple(choices), constraints)

    def answer(self, candidate: Mapping[str, Any], *inputs: Tensor) -> Any:
        """What the subnet says, in the mode that the network is in, by the shared weights."""
        view, slices = self.subnet(candidate)
        return functional_call(view, slices, inputs)

    def subnet(self, candidate: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Tensor]]:
        """The network without skipped blocks, its modules shared, and its sliced tensors.

        Raises:
            ValueError: a name or a size that this network has not.
        """
        self._check(candidate)
        view = _without(self.network, self._skipped(candidate))
        present = tensors(view)
        slices: dict[str, Tensor] = {}
        for width in self.widths:
            size = int(candidate.get(width.name, width.channels))
            for tensor, axis in width.slots:
                if tensor in present:
                    whole = slices.get(tensor, present[tensor])
                    slices[tensor] = whole.narrow(axis, 0, size)
        return view, slices

    def _skipped(self, candidate: Mapping[str, Any]) -> list[str]:
        return [
            name
            for depth in self.depths
            for name in depth.blocks[int(candidate.get(depth.name, len(depth.blocks))) :]
        ]

    def _check(self, candidate: Mapping[str, Any]) -> None:
        least = dict.fromkeys(self.most, 0) | {each.name: 1 for each in self.widths}
        for name, size in candidate.items():
            if name not in least:
                raise ValueError(f"{name!r} is no width or depth of this network: {list(least)}")
            if not isinstance(size, int) or not least[name] <= size <= self.most[name]:
                told = f"{least[name]} to {self.most[name]}"
                raise ValueError(f"{name!r} is a whole number from {told}, got {size!r}")


def extracted(supernet: Supernet, candidate: Candidate | Mapping[str, Any]) -> nn.Module:
    """The subnet as a network of its own: copies of the slices, and layers that know their sizes.

    Raises:
        ValueError: a name or a size that this network has not.
    """
    view, slices = supernet.subnet(candidate)
    found = copy.deepcopy(view)
    for name, tensor in slices.items():
        place, _, leaf = name.rpartition(".")
        module, own = found.get_submodule(place), tensor.detach().clone()
        if leaf in module._parameters:
            own = nn.Parameter(own, requires_grad=module._parameters[leaf].requires_grad)
        setattr(module, leaf, own)
        say_sizes_(module)
    return found


def tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _check_layer(network: nn.Module, tensor: str) -> None:
    name = tensor.rpartition(".")[0]
    layer = network.get_submodule(name)
    if not isinstance(layer, LAYERS) or getattr(layer, "groups", 1) > 1:
        groups = f" of {layer.groups} groups" if hasattr(layer, "groups") else ""
        told = "a linear layer, an ungrouped convolution or a batch norm"
        raise ValueError(f"{name!r} must be {told}, got {type(layer).__name__}{groups}")


def _without(module: nn.Module, names: Collection[str]) -> nn.Module:
    """The same modules in a new tree that lacks those names; the given tree is not changed."""
    if not names:
        return module
    view = copy.copy(module)
    view._modules = dict(module._modules)
    for child, inner in module._modules.items():
        below = [each.removeprefix(f"{child}.") for each in names if each.startswith(f"{child}.")]
        if child in names:
            del view._modules[child]
        elif below and inner is not None:
            view._modules[child] = _without(inner, below)
    return view
