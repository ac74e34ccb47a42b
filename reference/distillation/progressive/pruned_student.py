"""Students cut out of their teacher: the slices that it uses most, as the start of distillation.

    neurons, heads    mean over tokens of |a_i| and ||context_h||_2 at what enters the last layer
    width             mean |norm(x)_i|, summed over the norms
    layers            block influence
    channels          mean |x_c| where the channel is read, summed over what reads it

All are scored on the teacher before anything is cut, from a few batches and no labels. A slice
says nearly what the teacher says, or little of it; either way it is closer than random weights, and
training needs a small part of the steps. Of the same shape, the order is what importance decides:
every unit that stays scores at least as high as each that goes.

Source    Muralidharan et al., "Compact Language Models via Pruning and Knowledge Distillation",
          NeurIPS 2024, arXiv:2407.14679 (Minitron), sections 2.2 and 2.3.
Differs   Minitron takes L2 over the batch and the mean over tokens; here it is the mean over both.
          Channels of convolutions are ours, by the same rule.
Left out  Their search over shapes; L0 masks that are learned (Sheared LLaMA, Xia et al., 2024).
Read      reference/pruning/structured: neurons.py, width.py, depth.py, channels.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from reference import walk
from reference.pruning.masks import Masks, without_lowest
from reference.pruning.structured import heads, neurons
from reference.pruning.structured.architecture import architecture, block_widths
from reference.pruning.structured.depth import block_influence, least_influential
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.groups import Graph
from reference.pruning.structured.importance import Scores
from reference.pruning.structured.remove import remove
from reference.pruning.structured.remove_transformer import (
    remove_heads,
    remove_layers,
    remove_neurons,
    remove_width,
)
from reference.pruning.structured.selection import even
from reference.pruning.structured.tokens import rows
from reference.pruning.structured.width import norm_activation


@dataclass(frozen=True)
class Shape:
    """Of a student; None is as in the teacher."""

    layers: int | None = None
    heads: int | None = None  # query heads of each layer
    ffn: int | None = None  # neurons of each layer
    width: int | None = None  # of the residual stream


def transformer_slice(teacher: nn.Module, batches: Sequence[walk.Batch], shape: Shape) -> nn.Module:
    """A smaller Transformer with the teacher's most important parts.

    Heads that share keys and values (GQA) stay or go with their group.

    Raises:
        ValueError: no batches, a size that is not within 1 and the teacher's, heads that are no
            whole groups, or sizes that the class cannot have.
    """
    influence = block_influence(teacher, batches)
    layers = _within("layers", shape.layers, len(influence))
    kept_heads = _head_masks(teacher, batches, shape.heads)
    kept_neurons = _neuron_masks(teacher, batches, shape.ffn)
    kept_width = _best("width", norm_activation(teacher, batches), shape.width)
    found = remove_neurons(remove_heads(teacher, kept_heads), kept_neurons)
    if not kept_width.all():
        found = remove_width(found, kept_width)
    return remove_layers(found, least_influential(influence, len(influence) - layers))


def channel_slice(
    teacher: nn.Module, batches: Sequence[walk.Batch], sparsity: float, multiple: int = 1
) -> nn.Module:
    """A narrower convolutional network: every group of channels loses the same share.

    Raises:
        ValueError: no batches, or as `dependency_graph` and `selection.even`.
    """
    if not batches:
        raise ValueError("activations are seen on at least one batch, got none")
    graph = dependency_graph(teacher, batches[0])
    scores = channel_activation(teacher, graph, batches)
    return remove(teacher, graph, even(scores, sparsity, multiple))


def channel_activation(model: nn.Module, graph: Graph, batches: Sequence[walk.Batch]) -> Scores:
    """The mean |x| of each unit where it is read, summed over its readers: by group, (units,)."""
    names = {_layer_of(each.tensor) for group in graph.groups.values() for each in group.readers}
    means = {
        name: _column_means(walk.layer(model, name), inputs)
        for name, inputs in walk.layer_inputs(model, names, batches).items()
    }
    return {
        name: sum(
            (means[_layer_of(each.tensor)][each.indices].mean(1) for each in group.readers),
            torch.zeros(group.size),
        )
        for name, group in graph.groups.items()
    }


def head_activation(model: nn.Module, batches: Sequence[walk.Batch]) -> dict[str, Tensor]:
    """The mean length of each head's context over tokens, by the name of the block: (heads,).

    Raises:
        ValueError: there are no batches.
    """
    if not batches:
        raise ValueError("activations are seen on at least one batch, got none")
    blocks = architecture(model).blocks
    seen = walk.layer_inputs(model, [block.out for block in blocks], batches)
    found = {}
    for block in blocks:
        pairs = zip(seen[block.out], batches, strict=True)
        context = torch.cat([rows(each, batch) for each, batch in pairs])
        count = block_widths(model, block).heads
        found[block.name] = context.unflatten(1, (count, -1)).norm(dim=2).mean(0)
    return found


def _head_masks(teacher: nn.Module, batches: Sequence[walk.Batch], count: int | None) -> Masks:
    if count is None:
        return {}
    scores = heads.group_scores(teacher, head_activation(teacher, batches))
    groups = {}
    for block in architecture(teacher).blocks:
        widths = block_widths(teacher, block)
        kept, odd = divmod(count, widths.heads // widths.kv_heads)
        if odd:
            raise ValueError(
                f"{count} heads are no whole groups of {widths.heads // widths.kv_heads} that "
                f"share keys and values in {block.name}"
            )
        groups[block.name] = _best("key/value heads", scores[block.name], kept)
    return heads.of_groups(teacher, groups)


def _neuron_masks(teacher: nn.Module, batches: Sequence[walk.Batch], count: int | None) -> Masks:
    if count is None:
        return {}
    scores = neurons.activation(teacher, batches)
    return {name: _best("ffn", each, count) for name, each in scores.items()}


def _best(what: str, scores: Tensor, count: int | None) -> Bool[Tensor, " units"]:
    return without_lowest(scores, len(scores) - _within(what, count, len(scores)))


def _within(what: str, count: int | None, most: int) -> int:
    if count is None:
        return most
    if not 1 <= count <= most:
        raise ValueError(f"{what} must be within 1 and the teacher's {most}, got {count}")
    return count


def _column_means(layer: walk.Layer, inputs: Sequence[Tensor]) -> Tensor:
    """Mean |x| by column of the weight; groups of a convolution have the same columns."""
    means = torch.cat([walk.by_channel(layer, each.abs()) for each in inputs]).mean(0)
    return means.unflatten(0, (getattr(layer, "groups", 1), -1)).mean(0)


def _layer_of(tensor: str) -> str:
    return tensor.rpartition(".")[0]
