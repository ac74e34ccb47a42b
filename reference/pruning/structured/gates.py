"""Gates: factors on what enters a layer. At 0 a unit is masked; the slope at 1 is its worth.

    y = layer(xi * x)        xi one number for each unit: a neuron, or a head of d neighbours
    masked                   xi = 0 for what is to go; the layer's bias stays
    dL/dxi at xi = 1         = <x, dL/dx> over the unit = <W, dL/dW> over its columns of W

So the slope of the gate is Taylor's first term of the loss, L(1) - L(0) = dL/dxi + ..., and the
sum over g w of the weights that read the unit. E|dL/dxi| is Michel's score; E[(dL/dxi)^2] is both
Molchanov's for the group of those weights and the diagonal of the gates' Fisher matrix (Kwon).

Source    Michel et al., "Are Sixteen Heads Really Better than One?", 2019, arXiv:1905.10650;
          Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019,
          arXiv:1906.10771; Kwon et al., "A Fast Post-Training Pruning Framework for Transformers",
          2022, arXiv:2204.09656.
Differs   The expectation is over batches: batches of one example are the papers'.
Read      heads.py and neurons.py name the layers and the units.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reference import walk

LossOf = Callable[[nn.Module, Any], Tensor]  # the mean over the batch, a scalar
Batch = Any


@contextmanager
def gated(model: nn.Module, gates: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, what enters each named layer is multiplied, unit by unit along its last axis.

    Raises:
        ValueError: units that do not divide the features that enter the layer.
    """
    handles = [
        model.get_submodule(name).register_forward_pre_hook(partial(_gate, gate, name))
        for name, gate in gates.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def slopes(
    model: nn.Module, units: Mapping[str, int], loss_of: LossOf, batches: Sequence[Batch]
) -> dict[str, Tensor]:
    """dL/dxi at xi = 1 for each named layer: (batches, units). The model runs in eval.

    Raises:
        ValueError: there are no batches.
    """
    if not batches:
        raise ValueError("the slopes of gates need at least one batch, got none")
    rows: dict[str, list[Tensor]] = {name: [] for name in units}
    with walk.evaluating(model), torch.enable_grad():
        for batch in batches:
            gates = {name: _ones(model, name, count) for name, count in units.items()}
            with gated(model, gates):
                found = torch.autograd.grad(loss_of(model, batch), list(gates.values()))
            for name, slope in zip(units, found, strict=True):
                rows[name].append(slope)
    return {name: torch.stack(each) for name, each in rows.items()}


def mean_absolute(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.abs().mean(0) for name, each in found.items()}


def mean_square(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.square().mean(0) for name, each in found.items()}


def _ones(model: nn.Module, name: str, count: int) -> Tensor:
    weight = model.get_submodule(name).weight
    return torch.ones(count, dtype=weight.dtype, device=weight.device, requires_grad=True)


def _gate(gate: Tensor, name: str, _: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    entering, *others = arguments
    times, odd = divmod(entering.shape[-1], len(gate))
    if odd:
        raise ValueError(f"{len(gate)} gates do not divide {entering.shape[-1]} inputs of {name!r}")
    factor = gate.to(entering).repeat_interleave(times)
    return (entering * factor, *others)
