"""How operations without parameters couple channels.

Values are moved, and labels with them. Three things need care:

    sizes written in the code    view(b, 2, c // 2, ...): each of the 2 must lose the same channels
    parts of equal size          chunk(2), stack: part i of one goes with part i of the other
    computing over channels      mean, softmax: the result would change, so the channels stay

A size that was read off a tensor (`x.shape[1] // 2`) is `Measured` and follows when channels go; a
literal number does not.
"""

import torch
from torch.nn import functional as F

from reference.pruning.structured.propagate_follow import Call, Following, tensors_in
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


def same(following: Following, call: Call) -> Labels:
    """Each place of the result depends on that place of the first argument, and on no other."""
    return following.labels(call.value)


def elementwise(following: Following, call: Call) -> Labels:
    """Of several values, which broadcast: what meets goes together.

    A value that has one channel where others have many stays: all of them need it.
    """
    shape = tuple(call.out.shape)
    operands = [following.labels(each) for each in tensors_in((call.args, dict(call.named)))]
    operands = [each.reshape((1,) * (len(shape) - each.ndim) + each.shape) for each in operands]
    axes = sorted({axis for each in operands for axis in varying(each)})
    meeting = []
    for labels in operands:
        if any(labels.shape[axis] == 1 < shape[axis] for axis in axes):
            following.keep(labels, "it is spread over many channels")
        else:
            others = [axis for axis in range(len(shape)) if axis not in axes]
            meeting.append(over(labels, shape, others))
    if not meeting:
        return following.units.staying("it is spread over many channels").expand(shape)
    for labels in meeting[1:]:
        following.units.join(_at_first(meeting[0], axes), _at_first(labels, axes))
    return following.units.current(meeting[0])


def moved(following: Following, call: Call) -> Labels:
    """The same operation on labels: transposing, squeezing, repeating."""
    return call.again(following.labels(call.value))


def sized(following: Following, call: Call) -> Labels:
    """view, reshape, unflatten, expand."""
    labels = following.labels(call.value)
    given = _flat((call.args[1:], tuple(call.named.values())))
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
        sizes = _flat((call.args[1:2], call.named.get("split_size", ())))
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


def pooled(following: Following, call: Call) -> Labels:
    """Over positions: the last axes, as many as the name says."""
    value = call.value
    digits = [int(each) for each in call.function.__name__ if each.isdigit()]
    axes = list(range(value.ndim - (digits[0] if digits else value.ndim - 2), value.ndim))
    return following.pooled(value, call.out, axes, "they are pooled with each other")


def reduced(following: Following, call: Call) -> Labels:
    value = call.value
    labels = following.labels(value)
    given = call.argument(1, "dim", call.named.get("axis"))
    axes = list(range(value.ndim)) if given is None else _flat((given,))
    following.keep_where_varying(labels, list(axes), "a value is computed over them")
    labels = following.units.current(labels)
    for axis in axes:
        labels = labels.narrow(axis, 0, 1)
    return labels.reshape(call.out.shape)


def normalised(following: Following, call: Call) -> Labels:
    """softmax and its like: every place depends on all along one axis."""
    labels = following.labels(call.value)
    place = 2 if call.function.__name__ == "normalize" else 1
    axis = call.argument(place, "dim", 1)
    following.keep_where_varying(labels, [axis], "a value is computed over them")
    return labels


def _at_first(labels: Labels, axes: list[int]) -> Labels:
    for axis in range(labels.ndim):
        if axis not in axes:
            labels = labels.narrow(axis, 0, 1)
    return labels


def _measured_sizes(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(Measured(size) for size in sizes)


def _flat(sizes: object) -> tuple[int, ...]:
    return tuple(each for each in torch.utils._pytree.tree_leaves(sizes) if isinstance(each, int))


def _named(rule: object, names: str) -> dict[str, object]:
    return dict.fromkeys(names.split(), rule)


RULES = {
    **_named(same, "relu relu6 leaky_relu elu selu celu gelu silu mish hardswish hardsigmoid"),
    **_named(same, "hardtanh sigmoid logsigmoid softplus softsign tanh tanhshrink hardshrink"),
    **_named(same, "softshrink threshold dropout dropout1d dropout2d dropout3d alpha_dropout"),
    **_named(same, "feature_alpha_dropout abs neg exp log sqrt rsqrt square reciprocal sign erf"),
    **_named(same, "round floor ceil clip clamp clamp_min clamp_max float double half bfloat16"),
    **_named(same, "to type type_as contiguous clone detach zeros_like ones_like sin cos"),
    **_named(elementwise, "add sub mul div true_divide pow maximum minimum where lerp addcmul"),
    **_named(elementwise, "iadd isub imul itruediv radd rsub rmul rdiv rtruediv truediv rpow"),
    **_named(elementwise, "subtract multiply divide eq ne lt le gt ge expand_as"),
    **_named(moved, "flatten permute transpose swapaxes movedim t squeeze unsqueeze flip repeat"),
    **_named(sized, "view reshape unflatten expand"),
    **_named(parted, "chunk split unbind"),
    **_named(pooled, "avg_pool1d avg_pool2d max_pool1d max_pool2d adaptive_avg_pool1d"),
    **_named(pooled, "adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d lp_pool2d"),
    **_named(pooled, "interpolate"),
    **_named(reduced, "mean sum amax amin prod std var norm argmax argmin"),
    **_named(normalised, "softmax log_softmax softmin normalize cumsum"),
    "T": moved, "mT": moved, "getitem": indexed, "cat": concatenated, "concat": concatenated,
    "stack": stacked, "pad": padded,
}  # fmt: skip
