"""Reconstruction: what is left of a layer's inputs takes over from what has gone.

Removed inputs are correlated with kept ones. The best weights for the outputs that the layer had
are a least-squares solution; solved for the change, damping can only make it smaller, never worse
than no change at all.

    minimise  |Y - (W + D) X - b|^2 + lambda |D|^2       X: kept inputs, and a 1 for the bias
    D = (Y - W X - b) X' (X X' + lambda I)^-1            Y: outputs of the layer before pruning

X comes from the network in which earlier layers are pruned and mended, so that a layer makes up for
their errors too.

Source    Luo et al., "ThiNet", ICCV 2017, arXiv:1707.06342, section 3.2 (least squares on samples);
          He et al., "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017,
          arXiv:1707.06168, section 3 (inputs of the pruned network).
Differs   All weights of the kept channels are solved for, not one scale for each channel as in
          ThiNet; channels are chosen before, by any criterion, not by LASSO or greedily.
Read      remove.py first: what comes back here is of the old size, with zeros, and is then removed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from reference import walk
from reference.cholesky import inverse_factor
from reference.pruning.masks import Masks
from reference.pruning.structured.groups import Graph
from reference.pruning.structured.remove import masked


@dataclass(frozen=True)
class LayerFit:
    """Mean squared output error of one layer on the calibration batches, over values."""

    before: float  # zeros in place of what has gone
    after: float


@dataclass(frozen=True)
class Reconstructed:
    model: nn.Module  # of the old size; `remove` with the same masks makes it small
    layers: dict[str, LayerFit]


def reconstruct(
    model: nn.Module,
    graph: Graph,
    masks: Masks,
    batches: Sequence[walk.Batch],
    damping: float = 1e-4,
) -> Reconstructed:
    """Refit every layer that reads removed channels, in the order in which they are registered.

    Args:
        damping: lambda, as a share of the mean of X X' on its diagonal.

    Raises:
        ValueError: masks that `remove` refuses, a reader that is no Conv2d and no Linear or is not
            reached by the batches, or inputs that are not finite.
    """
    found = masked(model, graph, masks)
    columns = _kept_columns(model, graph, masks)
    wanted = walk.outputs(model, columns, batches)
    fits = {}
    for name in (each for each in walk.named_layers(model) if each in columns):
        layer = walk.layer(found, name)
        inputs = walk.layer_inputs(found, [name], batches)[name]
        fits[name] = _refit_(layer, columns[name], inputs, wanted[name], damping)
    return Reconstructed(found, fits)


def change(
    inputs: Float[Tensor, "samples d_in"],
    missing: Float[Tensor, "samples d_out"],
    damping: float,
) -> Float[Tensor, "d_out d_in"]:
    """D: what to add to the weight so that inputs make up for what is missing of the outputs.

    Raises:
        ValueError: damping not above 0, or inputs that are not finite.
    """
    if not damping > 0:
        raise ValueError(f"damping must be above 0, got {damping}")
    gram = inputs.T @ inputs
    if not torch.isfinite(gram).all():
        raise ValueError("inputs have squares that are not finite")
    factor, _ = inverse_factor(gram, damping)
    return missing.T @ inputs @ factor.T @ factor


@torch.no_grad()
def _refit_(
    layer: walk.Layer,
    kept: Bool[Tensor, " columns"],
    inputs: Sequence[Tensor],
    wanted: Sequence[Tensor],
    damping: float,
) -> LayerFit:
    """Change the weights of kept columns, and the bias where there is one."""
    targets = torch.cat([walk.by_channel(layer, each) for each in wanted]).double()
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    rows = torch.cat([patches(layer, each) for each in inputs]).double()
    rows = rows.unflatten(1, (groups, len(kept), -1))  # (samples, groups, columns, kernel)
    weight = layer.weight.double().unflatten(0, (groups, -1))
    missing = targets - torch.cat([layer_rows(layer, each) for each in inputs]).double()
    changed, left = [], []
    for group, lacking in enumerate(missing.chunk(groups, dim=1)):
        x = rows[:, group, kept].flatten(1)
        if layer.bias is not None:
            x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
        step = change(x, lacking, damping)
        left.append(lacking - x @ step.T)
        changed.append(step)
    steps = torch.stack(changed)  # (groups, d_out / groups, values)
    if layer.bias is not None:
        layer.bias.add_(steps[..., -1].flatten())
        steps = steps[..., :-1]
    weight[:, :, kept] += steps.reshape(weight[:, :, kept].shape)
    layer.weight.copy_(weight.flatten(0, 1))
    after = torch.cat(left, dim=1)
    return LayerFit(missing.square().mean().item(), after.square().mean().item())


def patches(layer: walk.Layer, inputs: Tensor) -> Float[Tensor, "samples values"]:
    """The inputs of every output value, in the order of a weight's columns."""
    if isinstance(layer, nn.Linear):
        return inputs.flatten(0, -2)
    padding = layer._reversed_padding_repeated_twice
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    spread = F.pad(inputs, padding, mode=mode)
    found = F.unfold(spread, layer.kernel_size, layer.dilation, 0, layer.stride)
    return found.transpose(1, 2).flatten(0, 1)


def layer_rows(layer: walk.Layer, inputs: Tensor) -> Float[Tensor, "samples d_out"]:
    return walk.by_channel(layer, layer(inputs))


def _kept_columns(model: nn.Module, graph: Graph, masks: Masks) -> dict[str, Tensor]:
    """By layer that reads something that goes: which columns of its weight stay."""
    found: dict[str, Tensor] = {}
    for name, mask in masks.items():
        for each in graph.groups[name].readers if not mask.all() else ():
            layer = each.tensor.rpartition(".")[0]
            size = walk.layer(model, layer).weight.shape[1]
            columns = found.setdefault(layer, torch.ones(size, dtype=torch.bool))
            columns[each.indices[~mask.cpu()].flatten()] = False
    return found
