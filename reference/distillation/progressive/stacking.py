"""Progressive stacking: a deep Transformer from copies of a shallow one's layers.

    stacked       1 2 3 -> 1 2 3 1 2 3          the lower half starts as it was, the upper as a copy
    interleaved   1 2 3 -> 1 1 2 2 3 3          neighbours start alike
    part          1 2 3 -> 1 2 3 1 2            any depth: the layers in turn

Attention of trained layers looks much alike at every depth, so a copy is a better start than a
random layer, and the steps before the stack are cheaper by the layers that were not there. Copies
change the function (deepen.py has what does not): it is training that makes use of them.

Source    Gong et al., "Efficient Training of BERT by Progressively Stacking", ICML 2019, section
          3.2 (stacked). Interleaved: Chang et al., "Multi-level Residual Networks from Dynamical
          Systems View", ICLR 2018, arXiv:1710.10348, and Qin et al., "bert2BERT", ACL 2022,
          arXiv:2110.07143, as the depth-wise expansion.
Differs   Growth to any depth, not by doubling alone.
Left out  Training only the new layers at first (Yang et al., 2020, MSLT).
Read      reference/pruning/structured/architecture.py and remove_transformer.py first.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from reference import walk
from reference.distillation.loop import Epoch, LoopConfig, Objective, distill_
from reference.pruning.structured.architecture import architecture
from reference.pruning.structured.transformer_config import describe_


class Grown(NamedTuple):
    model: nn.Module
    losses: tuple[list[float], ...]  # of each stage, step by step


def stacked(depth: int, new_depth: int) -> tuple[int, ...]:
    """The layers in turn until there are enough. Raises ValueError: fewer layers than before."""
    _check(depth, new_depth)
    return tuple(i % depth for i in range(new_depth))


def interleaved(depth: int, new_depth: int) -> tuple[int, ...]:
    """Copies beside what they copy, as evenly as it goes. Raises ValueError: fewer than before."""
    _check(depth, new_depth)
    return tuple(i * depth // new_depth for i in range(new_depth))


def arranged(model: nn.Module, order: Sequence[int]) -> nn.Module:
    """A copy whose layers are copies of these layers of the model, each with its own parameters.

    Raises:
        ValueError: no layers, no such layer, or a model whose attention is scaled by its place.
    """
    known = architecture(model)
    for layer in order:
        if not 0 <= layer < len(known.blocks):
            raise ValueError(f"there is no layer {layer} in a model of {len(known.blocks)}")
    if not order:
        raise ValueError("a model needs a layer, got an order of none")
    if getattr(getattr(model, "config", None), "scale_attn_by_inverse_layer_idx", False):
        raise ValueError(
            "scale_attn_by_inverse_layer_idx ties attention to a layer's place; expected False"
        )
    found = copy.deepcopy(model)
    old = found.get_submodule(known.layers)
    layers = nn.ModuleList(copy.deepcopy(old[layer]) for layer in order)
    for place, layer in enumerate(layers):
        place_(layer, place)
    walk.replace_(found, known.layers, layers)
    return describe_(found)


def place_(layer: nn.Module, place: int) -> None:
    """Say to a layer which of the model's it is, as its cache counts."""
    for part in layer.modules():
        if hasattr(part, "layer_idx"):
            part.layer_idx = place


def grow(
    model: nn.Module,
    teacher: nn.Module | None,
    stages: Sequence[tuple[int, LoopConfig]],
    objective: Objective,
    epoch: Epoch,
) -> Grown:
    """Train a copy at its depth of each stage, stacking before each that is deeper.

    Raises:
        ValueError: no stages, one that is shallower than what is there, or as `distill_`.
    """
    if not stages:
        raise ValueError("growing needs at least one stage, got none")
    grown, losses = model, []
    for depth, config in stages:
        grown = arranged(grown, stacked(len(architecture(grown).blocks), depth))
        losses.append(distill_(grown, teacher, objective, epoch, config))
    return Grown(grown, tuple(losses))


def _check(depth: int, new_depth: int) -> None:
    if not 1 <= depth <= new_depth:
        raise ValueError(f"{depth} layers cannot become {new_depth}; expected at least as many")
