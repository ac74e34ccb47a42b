"""Variance-based pruning: a channel that hardly varies is a constant, and a constant is a bias.

    score       variance of the channel where it is read, over examples and positions
    removal     b <- b + sum over removed c of W[:, c] mean_c        in every layer that reads it

What is left of the error is the variance alone. A channel that is the same for every input costs
nothing, whatever its value: with gamma = 0 it is what the activation makes of beta.

Source    Berisha et al., "Variance-Based Pruning for Accelerating and Compressing Trained
          Networks", ICCV 2025, arXiv:2507.12988 (hidden neurons of MLPs in vision Transformers).
Differs   Any group of a dependency graph: several readers add up, each with its own mean. A
          convolution that pads sees fewer constants at its borders than its bias stands for: exact
          only without padding. Means are over all positions alike.
Left out  Their update of the statistics over many batches in constant memory; here inputs are kept.
Read      importance.py first, then remove.py.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference import walk
from reference.pruning.masks import Masks
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.groups import Graph
from reference.pruning.structured.importance import Scores
from reference.pruning.structured.remove import remove


class Moments(NamedTuple):
    mean: Float[Tensor, " channels"]
    variance: Float[Tensor, " channels"]


def variance_scores(model: nn.Module, graph: Graph, batches: Sequence[walk.Batch]) -> Scores:
    """The variance of each unit where it is read: mean over its channels, sum over its readers.

    Raises:
        ValueError: no batch reaches a layer that reads, or the layer is no Conv2d and no Linear.
    """
    moments = _moments(model, graph, batches)
    found = {}
    for name, group in graph.groups.items():
        found[name] = torch.zeros(group.size)
        for each in group.readers:
            layer = _layer_of(each.tensor)
            variance = _by_column(walk.layer(model, layer), moments[layer].variance).mean(0)
            found[name] += variance[each.indices].mean(1).cpu()
    return found


def remove_keeping_means(
    model: nn.Module, graph: Graph, masks: Masks, batches: Sequence[walk.Batch]
) -> nn.Module:
    """`remove`, with the means of what goes in the biases of what read it.

    Layers without a bias get one.

    Raises:
        ValueError: as `remove` and `variance_scores`.
    """
    folded = with_means_folded(model, graph, masks, batches)
    return remove(folded, dependency_graph(folded, batches[0]), masks)


@torch.no_grad()
def with_means_folded(
    model: nn.Module, graph: Graph, masks: Masks, batches: Sequence[walk.Batch]
) -> nn.Module:
    """A copy whose biases hold what the removed channels are on average; nothing is removed yet."""
    moments = _moments(model, graph, batches)
    found = copy.deepcopy(model)
    for name, mask in masks.items():
        for each in graph.groups[name].readers:
            layer_name = _layer_of(each.tensor)
            layer = walk.layer(found, layer_name)
            means = _by_column(layer, moments[layer_name].mean)
            gone = torch.zeros(means.shape[1], dtype=torch.bool)
            gone[each.indices[~mask.cpu()].flatten()] = True
            shift = _constant_output(layer, means * gone.to(means.device))
            bias = shift if layer.bias is None else layer.bias + shift
            layer.bias = nn.Parameter(bias, requires_grad=layer.weight.requires_grad)
    return found


def _constant_output(
    layer: walk.Layer, means: Float[Tensor, "groups columns"]
) -> Float[Tensor, " d_out"]:
    """What the weight makes of inputs that are constant."""
    weight = layer.weight.flatten(2).sum(2) if layer.weight.ndim > 2 else layer.weight
    return (weight.unflatten(0, (len(means), -1)) @ means.unsqueeze(2)).flatten()


def _by_column(
    layer: walk.Layer, channels: Float[Tensor, " channels"]
) -> Float[Tensor, "groups columns"]:
    """By column of the weight: a grouped convolution has the same columns for each group."""
    return channels.unflatten(0, (layer.groups if isinstance(layer, nn.Conv2d) else 1, -1))


def _moments(model: nn.Module, graph: Graph, batches: Sequence[walk.Batch]) -> dict[str, Moments]:
    readers = {_layer_of(each.tensor) for group in graph.groups.values() for each in group.readers}
    layers = {name: walk.layer(model, name) for name in readers}
    found = {}
    for name, inputs in walk.layer_inputs(model, layers, batches).items():
        rows = torch.cat([walk.by_channel(layers[name], each) for each in inputs])
        variance, mean = torch.var_mean(rows, dim=0, correction=0)
        found[name] = Moments(mean, variance)
    return found


def _layer_of(tensor: str) -> str:
    return tensor.rpartition(".")[0]
