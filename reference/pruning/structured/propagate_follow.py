"""What the rules of propagation share: labels of values, and which places of parameters they are.

A parameter that a layer uses is claimed: the units along its axis are written down once, and joined
with those of every further use, so that weights shared by two layers, or by two calls of one, keep
matching. Values that nothing here made, inputs and constants, have one unit that stays.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from reference.pruning.structured.groups import Kind
from reference.pruning.structured.propagate_units import Labels, Units, over, varying

# Their sizes are attributes that remove.py knows how to change.
RESIZED = (
    nn.Conv1d, nn.Conv2d, nn.Linear, nn.Embedding, nn.PReLU, nn.GroupNorm,
    nn.modules.batchnorm._NormBase,
)  # fmt: skip


class Call(NamedTuple):
    """One call of PyTorch while the network runs."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    named: Mapping[str, Any]
    out: Any

    @property
    def value(self) -> Tensor:
        return self.args[0] if self.args else self.named["input"]

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        return self.args[place] if place < len(self.args) else self.named.get(name, default)

    def again(self, labels: Labels) -> Any:
        """The same call on labels in place of the value."""
        others = {name: each for name, each in self.named.items() if name != "input"}
        return self.function(labels, *self.args[1:], **others)


Rule = Callable[["Following", Call], Any]  # the labels of the result, or of each result


class Claim(NamedTuple):
    kind: Kind
    labels: Int[Tensor, " size"]


class Following:
    """The state of one run of a network."""

    def __init__(self, model: nn.Module) -> None:
        self.units = Units()
        self.claims: dict[tuple[str, int], Claim] = {}  # by tensor and axis
        self.where = ""  # the module that is running, as errors and reasons name it
        self._values = WeakTensorKeyDictionary()
        self._foreign = self.units.staying("it meets an input or a constant")
        self._tensors: dict[int, tuple[str, list[nn.Module]]] = {}
        for prefix, module in model.named_modules():
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    full = f"{prefix}.{name}" if prefix else name
                    self._tensors.setdefault(id(tensor), (full, []))[1].append(module)

    def labels(self, value: Tensor) -> Labels:
        """Of a value that the network has made, of its own parameters, or of what stays."""
        if value in self._values:
            return self.units.current(self._values[value])
        wide = [axis for axis, size in enumerate(value.shape) if size > 1]
        if id(value) in self._tensors and (len(wide) == 1 or value.ndim == 1):
            along = wide[0] if wide else 0
            shape = [-1 if axis == along else 1 for axis in range(value.ndim)]
            return self.claim(value, along, "carries").reshape(shape)
        self.keep_own(value)
        return self._foreign.expand(value.shape)

    def keep_own(self, value: Tensor) -> None:
        """A parameter that something is computed from keeps its sizes."""
        if id(value) in self._tensors:
            for axis in range(value.ndim):
                self.keep(self.claim(value, axis, "carries"), "something is computed from it")

    def put(self, value: Tensor, labels: Labels) -> None:
        self._values[value] = labels

    def made_here(self, value: Tensor) -> bool:
        return value in self._values and not self.units.all_stay(self._values[value])

    def channels(self, value: Tensor, axis: int) -> Int[Tensor, " size"]:
        """The labels along an axis, where they vary along no other; else all of them stay."""
        labels = self.labels(value)
        others = [each for each in range(value.ndim) if each != axis % value.ndim]
        if set(varying(labels)) & set(others):
            self.keep(labels, "its channels are on an axis that is not the channels' there")
        for other in others:
            labels = labels.narrow(other, 0, 1)
        return labels.flatten()

    def claim(self, tensor: Tensor, axis: int, kind: Kind, labels: Labels | None = None) -> Labels:
        """The units along the axis of a parameter: these labels, or new ones."""
        name = self._tensors[id(tensor)][0]
        found = self.claims.get((name, axis))
        if found is None:
            new = self.units.new(tensor.shape[axis]) if labels is None else labels
            found = self.claims[name, axis] = Claim(kind, new)
        elif labels is not None:
            self.units.join(found.labels, labels)
        return self.units.current(found.labels)

    def carry(self, vector: Tensor | None, labels: Int[Tensor, " size"]) -> None:
        """A bias, or what a norm has for each channel."""
        if vector is not None:
            self.units.join(self.labels(vector), labels)

    def resizable(self, tensor: Tensor) -> bool:
        """Whether every module that owns it is of a kind whose sizes can be changed."""
        owners = self._tensors.get(id(tensor), ("", []))[1]
        return bool(owners) and all(isinstance(each, RESIZED) for each in owners)

    def keep(self, labels: Labels, why: str) -> None:
        self.units.keep(labels, f"{why}, in {self.where}")

    def keep_where_varying(self, labels: Labels, axes: list[int], why: str) -> None:
        if set(varying(labels)) & {axis % labels.ndim for axis in axes}:
            self.keep(labels, why)

    def pooled(self, value: Tensor, out: Tensor, axes: list[int], why: str) -> Labels:
        """For a result that has other sizes along these axes, computed over them."""
        labels = self.labels(value)
        self.keep_where_varying(labels, axes, why)
        return over(self.units.current(labels), tuple(out.shape), axes)


def vector_of(labels: Int[Tensor, " size"], ndim: int, axis: int) -> Labels:
    """One label for each channel, as a value of that many axes has them."""
    shape = [1] * ndim
    shape[axis] = len(labels)
    return labels.reshape(shape)


def tensors_in(value: object) -> list[Tensor]:
    return [each for each in torch.utils._pytree.tree_leaves(value) if isinstance(each, Tensor)]


def flat(sizes: object) -> tuple[int, ...]:
    """All whole numbers in what a call was given."""
    return tuple(each for each in torch.utils._pytree.tree_leaves(sizes) if isinstance(each, int))


def ruled(rule: Rule, names: str) -> dict[str, Rule]:
    """One rule for several functions."""
    return dict.fromkeys(names.split(), rule)
