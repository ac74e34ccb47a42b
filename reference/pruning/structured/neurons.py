"""Neurons of the feed-forward networks: what each is worth.

    y = W_out a + b        a = act(W_in x + b_in), or act(W_gate x) * (W_up x) in a gated FFN

    weight norm   ||(W_in, W_gate, W_out) of i||_2
    activation    E |a_i|                              Minitron's, over tokens
    wanda         ||W_out[:, i]||_2 * sqrt(E a_i^2)    squared: the mean squared error of y when
                                                       neuron i alone goes
    gradient      E |dL/dxi_i|, taylor E (dL/dxi_i)^2  gates.py

A neuron is one column of W_out with its row of W_in and, in a gated FFN, of W_gate: they go
together, with the entries of b_in. Choosing by `even(..., multiple=16)` keeps sizes that kernels
like.

Source    Muralidharan et al., "Compact Language Models via Pruning and Knowledge Distillation",
          2024, arXiv:2407.14679 (Minitron); Sun et al., "A Simple and Effective Pruning Approach
          for LLMs", 2024, arXiv:2306.11695 (Wanda, whose weights are single); Molchanov 2019,
          arXiv:1906.10771.
Differs   Minitron takes the first layer's output and several norms over batch and tokens; here it
          is what enters the last layer, and the mean.
Read      selection.py chooses; remove_transformer.py removes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from reference import walk
from reference.pruning.structured import gates
from reference.pruning.structured.architecture import Block, architecture, block_widths
from reference.pruning.structured.heads import named_blocks
from reference.pruning.structured.slices import of_outputs
from reference.pruning.structured.tokens import rows

Scores = dict[str, Tensor]  # by the name of the block: (ffn,)


@torch.no_grad()
def weight_norm(model: nn.Module) -> Scores:
    """The L2 norm of a neuron's weights, into it and out of it."""
    return {block.name: _energy(model, block).sqrt() for block in architecture(model).blocks}


def activation(model: nn.Module, batches: Sequence[walk.Batch]) -> Scores:
    """E |a| over tokens that stand. Raises ValueError without batches."""
    return _means(model, batches, torch.abs)


def wanda(model: nn.Module, batches: Sequence[walk.Batch]) -> Scores:
    """The root mean squared change of the FFN's output vector when the neuron alone goes.

    Raises:
        ValueError: there are no batches.
    """
    energy = _means(model, batches, torch.square)
    found = {}
    for block in architecture(model).blocks:
        weight = of_outputs(model.get_submodule(block.contract)).detach()
        found[block.name] = weight.norm(dim=0) * energy[block.name].sqrt()
    return found


def gradient(model: nn.Module, loss_of: gates.LossOf, batches: Sequence[gates.Batch]) -> Scores:
    """E |dL/dxi| of each neuron's gate. Raises ValueError without batches."""
    return gates.mean_absolute(_slopes(model, loss_of, batches))


def taylor(model: nn.Module, loss_of: gates.LossOf, batches: Sequence[gates.Batch]) -> Scores:
    """E (dL/dxi)^2 of each neuron's gate. Raises ValueError without batches."""
    return gates.mean_square(_slopes(model, loss_of, batches))


def random(model: nn.Module, generator: torch.Generator) -> Scores:
    """The control: what a score must beat."""
    counts = {b.name: block_widths(model, b).ffn for b in architecture(model).blocks}
    return {name: torch.rand(count, generator=generator) for name, count in counts.items()}


@contextmanager
def masked_neurons(model: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, removed neurons are zero before the last layer. Blocks without a mask keep all.

    Raises:
        ValueError: a mask for no block, or not one entry for each neuron.
    """
    blocks = named_blocks(model, masks)
    with gates.gated(model, {block.contract: checked(model, block, masks) for block in blocks}):
        yield


def checked(model: nn.Module, block: Block, masks: Mapping[str, Tensor]) -> Tensor:
    mask, count = masks[block.name], block_widths(model, block).ffn
    if mask.shape != (count,):
        shape = tuple(mask.shape)
        raise ValueError(f"{block.name} has {count} neurons, its mask has shape {shape}")
    return mask


def _means(
    model: nn.Module, batches: Sequence[walk.Batch], of: Callable[[Tensor], Tensor]
) -> Scores:
    if not batches:
        raise ValueError("activations are seen on at least one batch, got none")
    blocks = {block.contract: block.name for block in architecture(model).blocks}
    sums: dict[str, Tensor] = {}
    tokens = 0
    for batch in batches:
        entering = walk.layer_inputs(model, blocks, [batch])
        for layer, name in blocks.items():
            seen = rows(entering[layer][0], batch)
            sums[name] = sums.get(name, 0) + of(seen).sum(0)
        tokens += len(seen)
    return {name: each / tokens for name, each in sums.items()}


def _slopes(model: nn.Module, loss_of: gates.LossOf, batches: Sequence[gates.Batch]) -> Scores:
    blocks = architecture(model).blocks
    counts = {block.contract: block_widths(model, block).ffn for block in blocks}
    found = gates.slopes(model, counts, loss_of, batches)
    return {block.name: found[block.contract] for block in blocks}


def _energy(model: nn.Module, block: Block) -> Tensor:
    energy = of_outputs(model.get_submodule(block.contract)).square().sum(0)
    for name in block.inward:
        energy = energy + of_outputs(model.get_submodule(name)).square().sum(1)
    return energy
