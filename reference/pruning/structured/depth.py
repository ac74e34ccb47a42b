"""Whole layers: which of them change the residual stream least.

    block influence      BI_l = 1 - E cos(x_l, x_l+1)            x_l enters layer l, per token
    angular distance     d_l,n = E arccos(cos(x_l, x_l+n)) / pi  of n layers in a row, 0 to 1
    greedy               remove the layer without which the loss is lowest, then the next
    evenly spaced        every other layer, or every so many: the control

A layer that adds nothing has influence 0, and costs nothing to remove. That is exact where the
layer's shortcut is the stream itself; BERT normalises after each addition, so none of its layers is
ever an identity.

Source    Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You
          Expect", 2024, arXiv:2403.03853; Gromov et al., "The Unreasonable Ineffectiveness of the
          Deeper Layers", 2024, arXiv:2403.17887; Fan et al., "Reducing Transformer Depth on Demand
          with Structured Dropout", 2020, arXiv:1909.11556 (every other layer).
Differs   Gromov looks at the last token alone; here all that stand are looked at.
Left out  Attention and FFN by themselves (He et al., 2024); healing, which is training.
Read      remove_transformer.py takes the layers out.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reference import walk
from reference.pruning.masks import without_lowest
from reference.pruning.structured.architecture import architecture
from reference.pruning.structured.gates import Batch, LossOf
from reference.pruning.structured.tokens import rows


@dataclass(frozen=True)
class Removal:
    """One step of a greedy search."""

    layer: int  # counted in the whole model
    loss: float  # the mean over batches without this layer and all before it in the search


def block_influence(model: nn.Module, batches: Sequence[walk.Batch]) -> Float[Tensor, " depth"]:
    """BI of each layer, within 0 and 2. Raises ValueError without batches."""
    return _mean(model, batches, 1, lambda cosine: 1 - cosine)


def angular_distance(
    model: nn.Module, batches: Sequence[walk.Batch], span: int
) -> Float[Tensor, " starts"]:
    """The distance between the stream before and after `span` layers, for each first layer.

    Raises:
        ValueError: no batches, or a span that is not within 1 and the depth.
    """
    depth = len(architecture(model).blocks)
    if not 1 <= span <= depth:
        raise ValueError(f"span must be within 1 and the depth {depth}, got {span}")
    return _mean(model, batches, span, lambda cosine: cosine.arccos() / torch.pi)


def least_distant(distances: Float[Tensor, " starts"], depth: int) -> tuple[int, ...]:
    """The consecutive layers that angular distance would remove, the first of equals."""
    first, span = int(distances.argmin()), depth - len(distances) + 1
    return tuple(range(first, first + span))


def least_influential(influence: Float[Tensor, " depth"], count: int) -> tuple[int, ...]:
    """The `count` layers of least influence, in their order; of equals the first.

    Raises:
        ValueError: not 0 <= count < depth.
    """
    _check(len(influence), count)
    return tuple((~without_lowest(influence, count)).nonzero().flatten().tolist())


def evenly_spaced(depth: int, count: int) -> tuple[int, ...]:
    """`count` layers at equal distances; half of them: every other layer, and the first stays.

    Raises:
        ValueError: not 0 <= count < depth.
    """
    _check(depth, count)
    return tuple((2 * i + 1) * depth // (2 * count) for i in range(count))


def greedy(
    model: nn.Module, loss_of: LossOf, batches: Sequence[Batch], count: int
) -> tuple[Removal, ...]:
    """Layers in the order of their removal, each the one whose loss is then lowest.

    Raises:
        ValueError: no batches, or not 0 <= count < depth.
    """
    depth = len(architecture(model).blocks)
    _check(depth, count)
    found: list[Removal] = []
    for _ in range(count):
        gone = [each.layer for each in found]
        tried = [
            Removal(layer, _loss(model, loss_of, batches, [*gone, layer]))
            for layer in range(depth)
            if layer not in gone
        ]
        found.append(min(tried, key=lambda each: each.loss))
    return tuple(found)


@contextmanager
def skipped(model: nn.Module, layers: Collection[int]) -> Iterator[None]:
    """Inside, what enters one of these layers also leaves it.

    Raises:
        ValueError: there is no such layer.
    """
    blocks = architecture(model).blocks
    check_layers(len(blocks), layers)
    handles = [
        model.get_submodule(blocks[layer].name).register_forward_hook(_pass_on) for layer in layers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_layers(depth: int, layers: Collection[int]) -> None:
    """Raises ValueError: a layer that does not exist, or is named twice."""
    for layer in layers:
        if not 0 <= layer < depth:
            raise ValueError(f"there is no layer {layer} in a model of {depth}")
    if len(set(layers)) < len(layers):
        raise ValueError(f"layers must differ, got {sorted(layers)}")


def _check(depth: int, count: int) -> None:
    if not 0 <= count < depth:
        raise ValueError(f"count must be within 0 and {depth - 1} of {depth} layers, got {count}")


def _pass_on(_: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
    return (arguments[0], *output[1:]) if isinstance(output, tuple) else arguments[0]


@torch.no_grad()
def _loss(
    model: nn.Module, loss_of: LossOf, batches: Sequence[Batch], gone: Sequence[int]
) -> float:
    if not batches:
        raise ValueError("a loss needs at least one batch, got none")
    with skipped(model, gone), walk.evaluating(model):
        return sum(float(loss_of(model, batch)) for batch in batches) / len(batches)


def _mean(model: nn.Module, batches: Sequence[walk.Batch], span: int, of: Any) -> Tensor:
    if not batches:
        raise ValueError("the residual stream is seen on at least one batch, got none")
    blocks = [block.name for block in architecture(model).blocks]
    found = []
    for batch in batches:
        entering = walk.layer_inputs(model, blocks, [batch])
        last = walk.outputs(model, blocks[-1:], [batch])[blocks[-1]][0]
        stream = [rows(entering[name][0], batch) for name in blocks] + [rows(last, batch)]
        pairs = zip(stream[:-span], stream[span:], strict=True)
        found.append(torch.stack([_cosine(before, after) for before, after in pairs]))
    return of(torch.cat(found, dim=1)).mean(1)


def _cosine(before: Tensor, after: Tensor) -> Tensor:
    wide = torch.promote_types(before.dtype, torch.float64)  # 1 - cos of neighbours cancels
    return F.cosine_similarity(before.to(wide), after.to(wide), dim=-1).clamp(-1, 1)
