"""How operations that compute values couple channels.

place by place          relu, add: values that meet go together
over positions          pooling, mean: the channels are as they were
over channels           mean, softmax: the result would change, so the channels stay
"""

from reference.pruning.structured.propagate_follow import Call, Following, flat, ruled, tensors_in
from reference.pruning.structured.propagate_units import Labels, over, varying


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
    axes = list(range(value.ndim)) if given is None else flat((given,))
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


RULES = {
    **ruled(same, "relu relu6 leaky_relu elu selu celu gelu silu mish hardswish hardsigmoid"),
    **ruled(same, "hardtanh sigmoid logsigmoid softplus softsign tanh tanhshrink hardshrink"),
    **ruled(same, "softshrink threshold dropout dropout1d dropout2d dropout3d alpha_dropout"),
    **ruled(same, "feature_alpha_dropout abs neg exp log sqrt rsqrt square reciprocal sign erf"),
    **ruled(same, "round floor ceil clip clamp clamp_min clamp_max float double half bfloat16"),
    **ruled(same, "to type type_as contiguous clone detach zeros_like ones_like sin cos"),
    **ruled(elementwise, "add sub mul div true_divide pow maximum minimum where lerp addcmul"),
    **ruled(elementwise, "iadd isub imul itruediv radd rsub rmul rdiv rtruediv truediv rpow"),
    **ruled(elementwise, "subtract multiply divide eq ne lt le gt ge expand_as"),
    **ruled(pooled, "avg_pool1d avg_pool2d max_pool1d max_pool2d adaptive_avg_pool1d"),
    **ruled(pooled, "adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d lp_pool2d"),
    **ruled(pooled, "interpolate"),
    **ruled(reduced, "mean sum amax amin prod std var norm argmax argmin"),
    **ruled(normalised, "softmax log_softmax softmin normalize cumsum"),
}
