"""A whole Transformer, pruned block after block with what the pruned blocks before it send.

    for block: for group of layers with one input: statistics of the input, then pruned weights
               then once more through the block, to the next

Magnitude, Wanda, SparseGPT and the exact surgeon take a layer, its inputs and how much is to go;
here they meet a model. Densities may be OWL's, from the outliers of the dense model's blocks.

Source    Frantar and Alistarh, "SparseGPT", 2023, arXiv:2301.00774, section 4 (one block at a
          time); Sun et al., "Wanda", 2024, arXiv:2306.11695 (the same for Wanda); Yin et al.,
          "OWL", 2024, arXiv:2310.05175 (one density for a block).
Differs   Who shares an input is seen by running the block; inside a block, too, layers see what the
          pruned layers before them send.
Left out  Embeddings and the head; padding, which counts as tokens; weighing tokens.
Read      blocks.py first, which quantization/blockwise.py shares; wanda.py, sparsegpt.py, owl.py.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from reference import walk
from reference.blocks import Call, first_calls, inputs_of, sharing_inputs
from reference.pruning.gradient.obc import obc
from reference.pruning.gradient.owl import outlier_share, owl_sparsities
from reference.pruning.gradient.pruned import (
    Pattern,
    PrunedLayer,
    PrunedModel,
    rows_mask,
)
from reference.pruning.gradient.sparsegpt import SparseGptConfig, sparsegpt
from reference.pruning.gradient.wanda import wanda, wanda_scores
from reference.pruning.masks import Masks
from reference.pruning.matrices import matrix, tensor_of
from reference.statistics import InputStatistics, input_statistics

LINEAR = (nn.Linear, Conv1D)
PruneLayer = Callable[[Tensor, InputStatistics, Pattern], PrunedLayer]


def by_magnitude(weight: Tensor, inputs: InputStatistics, pattern: Pattern) -> PrunedLayer:
    """Each row by |w|; the inputs are not asked."""
    mask = rows_mask(weight.abs(), pattern)
    return PrunedLayer(weight * mask, mask)


def by_wanda(weight: Tensor, inputs: InputStatistics, pattern: Pattern) -> PrunedLayer:
    return wanda(weight, inputs, pattern)


def by_sparsegpt(config: SparseGptConfig = SparseGptConfig()) -> PruneLayer:
    return partial(sparsegpt, config=config)


def by_obc(damping: float = 0.01) -> PruneLayer:
    return partial(obc, damping=damping)


@torch.no_grad()
def prune_blocks(
    model: nn.Module,
    blocks: Sequence[str],
    batches: Sequence[walk.Batch],
    prune_layer: PruneLayer,
    patterns: Sequence[Pattern],
) -> PrunedModel:
    """A copy whose linear layers inside the blocks are pruned. The model is not modified.

    Args:
        blocks: modules in the order in which they run, each fed by the one before.
        batches: what the model is called with.
        patterns: how much of each block's layers goes.

    Raises:
        ValueError: no batch, no block, not as many patterns, a block without a linear layer, a
            layer that no batch reaches or whose weight is tied, values that are not finite.
    """
    if len(patterns) != len(blocks):
        raise ValueError(f"{len(patterns)} patterns for {len(blocks)} blocks: need one for each")
    pruned = copy.deepcopy(model)
    masks: Masks = {}
    wanted = dict(zip(blocks, patterns, strict=True))
    with walk.evaluating(pruned):
        for name, block, group, calls in _layers(pruned, blocks, batches):
            inputs = _statistics(block, name, group, calls)
            for each in group:
                masks[f"{name}.{each}.weight"] = _prune_(
                    block, name, each, inputs, prune_layer, wanted[name]
                )
    return PrunedModel(pruned, masks)


@torch.no_grad()
def owl_patterns(
    model: nn.Module,
    blocks: Sequence[str],
    batches: Sequence[walk.Batch],
    sparsity: float,
    reach: float = 0.08,
    times: float = 5.0,
) -> list[float]:
    """The sparsity of each block by the outliers of the dense model.

    Raises:
        ValueError: as `prune_blocks` and `owl_sparsities`.
    """
    scores: dict[str, list[Tensor]] = {name: [] for name in blocks}
    with walk.evaluating(model):
        for name, block, group, calls in _layers(model, blocks, batches):
            inputs = _statistics(block, name, group, calls)
            for each in group:
                weight = _rows(block.get_submodule(each))
                scores[name].append(wanda_scores(weight, inputs))
    shares = [outlier_share(each, times) for each in scores.values()]
    sizes = [sum(layer.numel() for layer in each) for each in scores.values()]
    return owl_sparsities(shares, sizes, sparsity, reach)


def _layers(
    model: nn.Module, blocks: Sequence[str], batches: Sequence[walk.Batch]
) -> Iterator[tuple[str, nn.Module, list[str], list[Call]]]:
    """Each block, the layers of it that share an input, and what enters the block by then."""
    if not blocks or not batches:
        raise ValueError(f"{len(blocks)} blocks and {len(batches)} batches: need one of each")
    calls = first_calls(model, blocks[0], batches)
    for name in blocks:
        block = model.get_submodule(name)
        _refuse_tied(model, name, block)
        for group in sharing_inputs(block, name, calls[0], LINEAR):
            yield name, block, group, calls
        calls = [call._replace(hidden=call.of(block)) for call in calls]


def _statistics(
    block: nn.Module, name: str, group: list[str], calls: list[Call]
) -> InputStatistics:
    try:
        return input_statistics(inputs_of(block, block.get_submodule(group[0]), calls))
    except ValueError as error:
        raise ValueError(f"{name}: {', '.join(group)}: {error}") from error


def _prune_(
    block: nn.Module,
    name: str,
    each: str,
    inputs: InputStatistics,
    prune_layer: PruneLayer,
    pattern: Pattern,
) -> Tensor:
    layer = block.get_submodule(each)
    try:
        found = prune_layer(_rows(layer), inputs, pattern)
    except ValueError as error:
        raise ValueError(f"{name}: {each}: {error}") from error
    layer.weight.copy_(tensor_of(layer, found.weight))
    return tensor_of(layer, found.mask)


def _rows(layer: nn.Module) -> Tensor:
    return matrix(layer, layer.weight.detach())


def _refuse_tied(model: nn.Module, name: str, block: nn.Module) -> None:
    """A weight that is used elsewhere too would be pruned for one of its uses alone."""
    inside = {f"{name}.{n}.weight" for n, m in block.named_modules() if isinstance(m, LINEAR)}
    places: dict[int, list[str]] = {}
    for place, parameter in model.named_parameters(remove_duplicate=False):
        places.setdefault(id(parameter), []).append(place)
    for shared in places.values():
        if len(shared) > 1 and inside & set(shared):
            raise ValueError(f"one weight stands in several places: {', '.join(shared)}")
