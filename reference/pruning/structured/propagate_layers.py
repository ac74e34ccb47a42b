"""How layers with parameters couple channels.

    convolution         reads along axis 1, makes along axis 0
    depthwise           output g m + i belongs to input g, with m outputs for each input
    grouped             each group gives up the same places, inputs and outputs alike, so that the
                        number of groups stays
    batch, instance norm, PReLU, bias        a value for each channel
    group norm          all channels of a group share statistics: they go together
    layer norm          over channels, statistics are of all of them: they stay

Left out  Removing whole groups of a grouped convolution. Transposed convolutions, recurrent layers
          and attention are not followed.
"""

from jaxtyping import Int
from torch import Tensor

from reference.pruning.structured.propagate_follow import Call, Following, vector_of
from reference.pruning.structured.propagate_units import Labels


def convolution(following: Following, call: Call) -> Labels:
    value, weight = call.value, call.argument(1, "weight")
    groups = call.argument(6, "groups", 1)
    axis = value.ndim - weight.ndim + 1
    read = following.channels(value, axis)
    if not following.resizable(weight):
        return _foreign_weight(following, call, read)
    made = following.claim(weight, 0, "makes")
    if groups == 1:
        following.claim(weight, 1, "reads", read)
    else:
        _join_groups(following, weight, groups, read, made)
    following.carry(call.argument(2, "bias"), made)
    return _spread(following, made, call.out, axis)


def linear(following: Following, call: Call) -> Labels:
    value, weight = call.value, call.argument(1, "weight")
    read = following.channels(value, -1)
    if not following.resizable(weight):
        return _foreign_weight(following, call, read)
    following.claim(weight, 1, "reads", read)
    made = following.claim(weight, 0, "makes")
    following.carry(call.argument(2, "bias"), made)
    return _spread(following, made, call.out, -1)


def embedding(following: Following, call: Call) -> Labels:
    weight = call.argument(1, "weight")
    if not following.resizable(weight):
        return following.units.staying("its table is computed").expand(call.out.shape)
    made = following.claim(weight, 1, "makes")
    if call.argument(3, "max_norm") is not None:
        following.keep(made, "rows of its table are normalised")
    return _spread(following, made, call.out, -1)


def channel_norm(following: Following, call: Call) -> Labels:
    """Batch and instance norm, which have the same arguments."""
    channels = following.channels(call.value, 1)
    vectors = [call.argument(*each) for each in _NORM_VECTORS]
    if not any(following.resizable(each) for each in vectors if each is not None):
        following.keep(channels, "a norm without parameters knows how many they are")
    for vector in vectors:
        following.carry(vector, channels)
    return following.labels(call.value)


def group_norm(following: Following, call: Call) -> Labels:
    channels = following.channels(call.value, 1)
    weight, bias = call.argument(2, "weight"), call.argument(3, "bias")
    if weight is None or not following.resizable(weight):
        following.keep(channels, "a group norm without parameters knows how many they are")
    following.units.join_along(channels.reshape(call.argument(1, "num_groups"), -1), 1)
    following.carry(weight, channels)
    following.carry(bias, channels)
    return following.labels(call.value)


def layer_norm(following: Following, call: Call) -> Labels:
    labels = following.labels(call.value)
    over = list(range(-len(call.argument(1, "normalized_shape")), 0))
    following.keep_where_varying(labels, over, "a norm takes its statistics over them")
    return labels


def prelu(following: Following, call: Call) -> Labels:
    value, weight = call.value, call.argument(1, "weight")
    if weight.numel() > 1:
        following.carry(weight, following.channels(value, 1))
    return following.labels(value)


_NORM_VECTORS = ((1, "running_mean"), (2, "running_var"), (3, "weight"), (4, "bias"))
RULES = {
    "conv1d": convolution, "conv2d": convolution, "linear": linear, "embedding": embedding,
    "batch_norm": channel_norm, "instance_norm": channel_norm, "group_norm": group_norm,
    "layer_norm": layer_norm, "rms_norm": layer_norm, "prelu": prelu,
}  # fmt: skip


def _join_groups(
    following: Following,
    weight: Tensor,
    groups: int,
    read: Int[Tensor, " d_in"],
    made: Int[Tensor, " d_out"],
) -> None:
    inputs, outputs = read.reshape(groups, -1), made.reshape(groups, -1)
    if weight.shape[1] == 1:
        following.units.join(outputs, inputs)
        return
    following.units.join_along(inputs, 0)
    following.units.join_along(outputs, 0)
    following.claim(weight, 1, "reads", inputs[0])


def _foreign_weight(following: Following, call: Call, read: Labels) -> Labels:
    """A weight that is computed, or belongs to a module whose sizes nobody here can change."""
    why = "a weight that reads them is computed, or its layer is of an unknown kind"
    following.keep(read, why)
    return following.units.staying(f"its weight is computed, in {following.where}").expand(
        call.out.shape
    )


def _spread(following: Following, made: Labels, out: Tensor, axis: int) -> Labels:
    return vector_of(following.units.current(made), out.ndim, axis).expand(out.shape)
