"""How operations that move values about couple channels: labels are moved with them.

    sizes written in the code    view(b, 2, c // 2, ...): each of the 2 must lose the same channels
    parts of equal size          chunk(2), stack: part i of one goes with part i of the other

A size that was read off a tensor (`x.shape[1] // 2`) is `Measured` and follows when channels go; a
literal number does not.
"""

import torch
from torch.nn import functional as F

from reference.pruning.structured.propagate_follow import Call, Following, flat, ruled, tensors_in
from reference.pruning.structured.propagate_units import Labels, over, varying


class Measured(int):
    """A size that was read off a tensor, and what products and quotients make of it."""

    def __mul__(self, other: int) -> "Measured":
        return Measured(int(self) * int(other)) if isinstance(other, int) else NotImplemented

    def __floordiv__(self, other: int) -> "Measured":
        return Measured(int(self) // int(other)) if isinstance(other, int) else NotImplemented

    __rmul__ = __mul__


def measured(sizes: int | tuple[int, ...]) -> int | torch.Size:
    if isinstance(sizes, int):
        return Measured(sizes)
    return torch.Size([Measured(size) for size in sizes])


def moved(following: Following, call: Call) -> Labels:
    """The same operation on labels: transposing, squeezing, repeating."""
    return call.again(following.labels(call.value))


def sized(following: Following, call: Call) -> Labels:
    """view, reshape, unflatten, expand."""
    labels = following.labels(call.value)
    given = flat((call.args[1:], tuple(call.named.values())))
    if call.function.__name__ == "unflatten":
        axis = given[0] % labels.ndim
        given = (*_measured_sizes(labels.shape[:axis]), *given[1:])
        given = (*given, *_measured_sizes(call.out.shape[len(given) :]))
    change = labels.expand if "expand" in call.function.__name__ else labels.reshape
    found = change(call.out.shape)
    for axis, size in enumerate(given):
        if size != -1 and not isinstance(size, Measured):
            following.units.join_along(found, axis)
    left = len(varying(following.units.current(found)))
    if left > 1 or (left == 0 and varying(labels)):
        following.keep(labels, "they are reshaped to a size written in the code")
    return following.units.current(found)


def indexed(following: Following, call: Call) -> Labels:
    """Parts of a value. Channels that are counted out stay; whole images or positions may go."""
    labels = following.labels(call.value)
    found = labels[call.args[1]]
    some = tensors_in(call.args[1]) or len(found.unique()) != len(labels.unique())
    if some and varying(labels):
        following.keep(labels, "they are taken by their number")
    return following.units.current(found)


def parted(following: Following, call: Call) -> tuple[Labels, ...]:
    """chunk, split, unbind."""
    labels = following.labels(call.value)
    name = call.function.__name__
    axis = call.argument(1, "dim", 0) if name == "unbind" else call.argument(2, "dim", 0)
    found = list(call.again(labels))
    if axis % labels.ndim in varying(labels):
        sizes = flat((call.args[1:2], call.named.get("split_size", ())))
        free = name == "chunk" or all(isinstance(each, Measured) for each in sizes)
        if name == "unbind" or not free or len({each.shape for each in found}) > 1:
            following.keep(labels, "they are split at a number written in the code")
        for part in found[1:]:
            following.units.join(found[0], part)
    return tuple(following.units.current(part) for part in found)


def concatenated(following: Following, call: Call) -> Labels:
    parts = [following.labels(each) for each in call.argument(0, "tensors")]
    axis = call.argument(1, "dim", 0) % parts[0].ndim
    others = {other for part in parts for other in varying(part)} - {axis}
    if others and any(axis in varying(part) for part in parts):
        for part in parts:
            following.keep(part, "they are concatenated along two axes")
    if others:
        for part in parts[1:]:
            following.units.join(parts[0].narrow(axis, 0, 1), part.narrow(axis, 0, 1))
    return following.units.current(torch.cat(parts, axis))


def stacked(following: Following, call: Call) -> Labels:
    parts = [following.labels(each) for each in call.argument(0, "tensors")]
    for part in parts[1:]:
        following.units.join(parts[0], part)
    return following.units.current(torch.stack(parts, call.argument(1, "dim", 0)))


def padded(following: Following, call: Call) -> Labels:
    """Zeros beside the channels stay, as in a shortcut that gains channels."""
    labels, pads = following.labels(call.value), call.argument(1, "pad")
    changing = varying(labels)
    for place in range(len(pads) // 2):
        before, after = pads[2 * place : 2 * place + 2]
        axis = labels.ndim - 1 - place
        if axis not in changing:
            shape = [*labels.shape]
            shape[axis] = call.out.shape[axis]
            labels = over(labels, tuple(shape), [axis])
        elif before or after:
            if call.argument(2, "mode", "constant") != "constant" or min(before, after) < 0:
                following.keep(labels, "they are padded with each other")
            zeros = int(following.units.staying("it meets zeros of a padding"))
            labels = F.pad(labels, (0, 0) * place + (before, after), value=zeros)
    return labels


def _measured_sizes(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(Measured(size) for size in sizes)


RULES = {
    **ruled(moved, "flatten permute transpose swapaxes movedim t T mT squeeze unsqueeze"),
    **ruled(moved, "flip repeat"),
    **ruled(sized, "view reshape unflatten expand"),
    **ruled(parted, "chunk split unbind"),
    **ruled(concatenated, "cat concat"),
    "getitem": indexed, "stack": stacked, "pad": padded,
}  # fmt: skip
