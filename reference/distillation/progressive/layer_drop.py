"""LayerDrop: layers are left out by chance in training, so that any of them can be later.

    in training   x_l+1 = x_l with probability p, else layer_l(x_l)        for each layer and batch
    in eval       all layers, and nothing is scaled
    p = 1 - kept / depth       so that training sees on average as many layers as will be kept

E of the number of layers at work is (1 - p) depth. A subnet is then cut out without training:
every other layer, the layers that change the stream most, or those without which a loss on held-out
data is lowest.

Source    Fan, Grave, Joulin, "Reducing Transformer Depth on Demand with Structured Dropout", ICLR
          2020, arXiv:1909.11556, section 3.
Differs   Layers of least influence are ShortGPT's (Men et al., 2024, arXiv:2403.03853).
Left out  Rates that are learned for each layer; heads and FFNs as what is dropped.
Read      reference/pruning/structured/depth.py scores layers, remove_transformer.py takes them out.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reference import walk
from reference.pruning.structured.architecture import architecture
from reference.pruning.structured.depth import (
    block_influence,
    evenly_spaced,
    greedy,
    least_influential,
)
from reference.pruning.structured.gates import Batch, LossOf
from reference.pruning.structured.remove_transformer import remove_layers


def rate_for(depth: int, kept: int) -> float:
    """The rate to train with for a subnet of so many layers.

    Raises:
        ValueError: not 1 <= kept <= depth.
    """
    if not 1 <= kept <= depth:
        raise ValueError(f"a subnet of {depth} layers keeps 1 to {depth}, got {kept}")
    return 1 - kept / depth


@contextmanager
def dropping_layers(model: nn.Module, rate: float) -> Iterator[None]:
    """Inside, each layer of a Transformer in training is skipped with that probability.

    A layer that is skipped is not run. Draws are torch's: `distill_` seeds them.

    Raises:
        ValueError: the rate is not at least 0 and below 1.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be at least 0 and below 1, got {rate}")
    blocks = [model.get_submodule(block.name) for block in architecture(model).blocks]
    for block in blocks:
        block.forward = _by_chance(block, rate)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # the class's is there again


def every_other(model: nn.Module, kept: int) -> nn.Module:
    """A copy with `kept` layers, the others taken at equal distances.

    Raises:
        ValueError: not 1 <= kept <= depth.
    """
    return remove_layers(model, evenly_spaced(_depth(model), _removed(model, kept)))


def most_influential(model: nn.Module, batches: Sequence[walk.Batch], kept: int) -> nn.Module:
    """A copy with the `kept` layers that change the residual stream most.

    Raises:
        ValueError: not 1 <= kept <= depth, or no batches.
    """
    influence = block_influence(model, batches)
    return remove_layers(model, least_influential(influence, _removed(model, kept)))


def searched(model: nn.Module, loss_of: LossOf, batches: Sequence[Batch], kept: int) -> nn.Module:
    """A copy with `kept` layers: one after the other goes without which the loss is lowest.

    Raises:
        ValueError: not 1 <= kept <= depth, or no batches.
    """
    gone = greedy(model, loss_of, batches, _removed(model, kept))
    return remove_layers(model, [each.layer for each in gone])


def _by_chance(block: nn.Module, rate: float) -> Any:
    forward = block.forward

    def run(x: Tensor, *rest: Any, **named: Any) -> Any:
        if block.training and bool(torch.rand(()) < rate):
            return x
        return forward(x, *rest, **named)

    return run


def _depth(model: nn.Module) -> int:
    return len(architecture(model).blocks)


def _removed(model: nn.Module, kept: int) -> int:
    rate_for(_depth(model), kept)
    return _depth(model) - kept
