"""Rounding a whole network up or down, layer by layer or block by block.

Layer by layer each weight is chosen for the output of its own layer, given the inputs that the
layers before it, rounded, really send. Block by block the weights of several layers are chosen
together for what leaves the block: activations and additions inside it count, and errors of its
layers may cancel.

    layer     minimise  |W x - W~ x~|^2                  adaround.py
    block     minimise  |f(x; W) - f(x~; W~)|^2          over all W~ of f at once

As for one layer, a block that training has not improved keeps nearest.

Source    Nagel et al., AdaRound, ICML 2020, arXiv:2004.10568, section 3.3 (asymmetric inputs);
          Li et al., "BRECQ: Pushing the Limit of Post-Training Quantization by Block
          Reconstruction", ICLR 2021, arXiv:2102.05426, section 3.3.
Differs   BRECQ weighs output errors by the diagonal of the Fisher information; here all count the
          same. Batches are taken in turn, so a run repeats.
Left out  Quantized activations inside the block, and dropping them at random (QDrop).
Read      adaround.py first; fold batch norm before (batch_norm.py).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from reference import walk
from reference.quantization.adaround import AdaRoundConfig, SoftRounding, adaround, anneal
from reference.quantization.affine import Grid, channel_range, dequantize, fake_quantize, widened
from reference.quantization.calibration import MakeGrid


@dataclass(frozen=True)
class Reconstructed:
    module: nn.Module  # its weights rounded
    error: float  # mean squared output error on the batches
    nearest_error: float  # the same for rounding to nearest


def adaround_model(
    model: nn.Module,
    batches: Sequence[Float[Tensor, "_ ..."]],
    make_grid: MakeGrid,
    config: AdaRoundConfig = AdaRoundConfig(),
) -> nn.Module:
    """A copy with every Conv2d and Linear rounded, in the order in which they are registered.

    Args:
        make_grid: of weights, one step per output channel; fix the bits with functools.partial.

    Raises:
        ValueError: a layer that no batch reaches, or values that are not finite.
    """
    rounded = copy.deepcopy(model)
    for name, layer in walk.named_layers(model).items():
        inputs = walk.layer_inputs(model, [name], batches)[name]
        after_rounding = walk.layer_inputs(rounded, [name], batches)[name]
        weight = adaround_layer(layer, inputs, after_rounding, make_grid, config)
        walk.layer(rounded, name).weight = nn.Parameter(weight, requires_grad=False)
    return rounded


def adaround_layer(
    layer: walk.Layer,
    inputs: Sequence[Tensor],
    rounded_inputs: Sequence[Tensor],
    make_grid: MakeGrid,
    config: AdaRoundConfig = AdaRoundConfig(),
) -> Float[Tensor, "d_out ..."]:
    """The layer's weight, rounded for its output. A grouped convolution is a layer per group."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    weights = layer.weight.detach().flatten(1).chunk(groups)
    clean, noisy = (columns(layer, each) for each in (inputs, rounded_inputs))
    parts = [
        adaround(rows, x, make_grid(channel_range(rows)), config, rounded).weight
        for rows, x, rounded in zip(weights, clean, noisy, strict=True)
    ]
    return torch.cat(parts).reshape(layer.weight.shape)


def columns(layer: walk.Layer, inputs: Sequence[Tensor]) -> list[Float[Tensor, "samples d_in"]]:
    """What each output of each group multiplies its weights by, for every sample and position."""
    if isinstance(layer, nn.Linear):
        return [torch.cat([x.flatten(0, -2) for x in inputs])]
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        raise ValueError(
            f"padding {layer.padding!r}, {layer.padding_mode!r}: need zeros, in pixels"
        )
    geometry = (layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    patches = torch.cat([F.unfold(x, *geometry).transpose(1, 2).flatten(0, 1) for x in inputs])
    return list(patches.chunk(layer.groups, dim=1))


def reconstruct_model(
    model: nn.Module,
    blocks: Sequence[str],
    batches: Sequence[Float[Tensor, "_ ..."]],
    make_grid: MakeGrid,
    config: AdaRoundConfig = AdaRoundConfig(),
) -> nn.Module:
    """A copy whose named blocks are rounded, each after those before it; the rest stays float.

    Args:
        blocks: modules that take one tensor and return one, in the order in which they run.

    Raises:
        ValueError: a block without layers or that no batch reaches, or values not finite.
    """
    rounded = copy.deepcopy(model)
    for name in blocks:
        inputs = walk.layer_inputs(rounded, [name], batches)[name]
        targets = walk.outputs(model, [name], batches)[name]
        block = model.get_submodule(name)
        walk.replace_(rounded, name, reconstruct(block, inputs, targets, make_grid, config).module)
    return rounded


def reconstruct(
    block: nn.Module,
    inputs: Sequence[Float[Tensor, "..."]],
    targets: Sequence[Float[Tensor, "..."]],
    make_grid: MakeGrid,
    config: AdaRoundConfig = AdaRoundConfig(),
) -> Reconstructed:
    """Round all weights of a block together, so that `inputs` give `targets`.

    Raises:
        ValueError: the block has no layer to round, or there are no batches.
    """
    layers = walk.named_layers(block)
    if not layers or not inputs:
        raise ValueError(f"a block with {len(layers)} layers and {len(inputs)} batches")
    for x in (*inputs, *targets):
        widened(x)
    weights = {f"{name}.weight".lstrip("."): each.weight.detach() for name, each in layers.items()}
    grids = {name: make_grid(channel_range(weight)) for name, weight in weights.items()}
    nearest = {name: fake_quantize(weight, grids[name]) for name, weight in weights.items()}
    with walk.evaluating(block):
        before = _error(block, nearest, inputs, targets)
        trained = _trained(block, weights, grids, inputs, targets, before, config)
        after = _error(block, trained, inputs, targets)
    chosen = trained if after < before else nearest
    return Reconstructed(_with_weights(block, chosen), min(before, after), before)


def _trained(
    block: nn.Module,
    weights: dict[str, Tensor],
    grids: dict[str, Grid],
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    nearest_error: float,
    config: AdaRoundConfig,
) -> dict[str, Tensor]:
    soft = {name: SoftRounding(weight, grids[name]) for name, weight in weights.items()}
    count = sum(weight.numel() for weight in weights.values())
    worth = count / nearest_error if nearest_error > 0 else 0.0  # 0: nothing to gain

    def loss_at(step: int) -> Tensor:
        batch = step % len(inputs)
        now = {name: each.soft().to(weights[name].dtype) for name, each in soft.items()}
        output = functional_call(block, now, (inputs[batch],))
        return worth * (output - targets[batch]).square().mean()

    anneal(list(soft.values()), loss_at, config)
    return {
        name: dequantize(each.hard(), grids[name]).to(weights[name].dtype)
        for name, each in soft.items()
    }


@torch.no_grad()
def _error(
    block: nn.Module,
    weights: dict[str, Tensor],
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
) -> float:
    errors = [
        (functional_call(block, weights, (x,)) - y).square().flatten()
        for x, y in zip(inputs, targets, strict=True)
    ]
    return torch.cat(errors).mean().item()


def _with_weights(block: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    rounded = copy.deepcopy(block)
    rounded.load_state_dict(rounded.state_dict() | weights)
    return rounded
