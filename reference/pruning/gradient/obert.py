"""oBERT: WoodFisher for groups of weights that go together, as fast kernels want them.

Four neighbours, or two of every four, are one decision. What a group Q costs, and how the others
move, is not the sum over its weights but one small system:

    s_Q = w_Q' [F^-1]_QQ^-1 w_Q / 2            d = -F^-1 E_Q [F^-1]_QQ^-1 w_Q

    groups      the neighbours 0-3, 4-7, ... of a weight: the groups of least s_Q go
    N:M         of each m neighbours, the m - n of least s_Q among all choices go

The score is of one group by itself; the update is for all that goes in a block, at once.

Source    Kurtic et al., "The Optimal BERT Surgeon: Scalable and Accurate Second-Order Pruning for
          Large Language Models", EMNLP 2022, arXiv:2203.07259: blocks of 50, damping 1e-7, 1024
          gradients in their experiments.
Differs   Neighbours are those in memory: along the inputs of one output.
Left out  N:M in GPT-2's Conv1D, whose neighbours in memory are outputs: refused. Training with
          distillation between steps, which their results rest on.
Read      obs.py and wood_fisher.py first.
"""

from collections.abc import Collection, Sequence
from itertools import combinations
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from reference.pruning.gradient.derivatives import LossOf, telling
from reference.pruning.gradient.obs import removed_at_once
from reference.pruning.gradient.pruned import NOfM, PrunedModel
from reference.pruning.gradient.wood_fisher import FisherConfig, blocks_of, inverses, mended
from reference.pruning.masks import global_masks
from reference.pruning.matrices import layer_of

BLOCKS = FisherConfig(block_size=48, damping=1e-7)  # 48 and not 50: groups of 4 divide it


def obert_groups(
    model: nn.Module,
    samples: Sequence[Any],
    loss_of: LossOf,
    sparsity: float,
    group: int = 4,
    config: FisherConfig = BLOCKS,
    spared: Collection[str] = (),
) -> PrunedModel:
    """A copy with the groups of least joint score in all layers removed, and the others moved.

    Raises:
        ValueError: groups that do not divide a block or a weight; as `wood_fisher`.
    """
    _divides(config, group)
    curved = inverses(model, samples, loss_of, config, spared)
    weights = {name: model.get_parameter(name) for name in curved}
    for name, each in weights.items():
        if each.numel() % group:
            raise ValueError(f"{name!r} has {each.numel()} weights, not groups of {group}")
    scores = {
        name: group_scores(blocks_of(each, curved[name]), curved[name], group).flatten()[
            : each.numel() // group
        ]
        for name, each in weights.items()
    }
    masks = global_masks(telling(scores), sparsity)
    spread = {
        name: masks[name].repeat_interleave(group).reshape(each.shape)
        for name, each in weights.items()
    }
    return mended(model, curved, spread)


def obert_n_of_m(
    model: nn.Module,
    samples: Sequence[Any],
    loss_of: LossOf,
    pattern: NOfM,
    config: FisherConfig = BLOCKS,
    spared: Collection[str] = (),
) -> PrunedModel:
    """A copy with n of each m neighbours kept, those whose loss costs most together.

    Raises:
        ValueError: an N:M without meaning, groups of m that do not divide a block or a row; as
            `wood_fisher`.
    """
    _divides(config, pattern.m)
    curved = inverses(model, samples, loss_of, config, spared)
    masks = {}
    for name, inverse in curved.items():
        weight = model.get_parameter(name)
        _rows_divide(layer_of(model, name), name, pattern.m)
        chosen = best_of_groups(blocks_of(weight, inverse), inverse, pattern)
        masks[name] = chosen.flatten()[: weight.numel()].reshape(weight.shape)
    return mended(model, curved, masks)


def group_scores(
    weight: Float[Tensor, "blocks size"], inverse: Float[Tensor, "blocks size size"], group: int
) -> Float[Tensor, "blocks groups"]:
    """What removing all of each group costs its block, by itself."""
    rows, among = _in_groups(weight, inverse, group)
    none = torch.zeros_like(rows, dtype=torch.bool)
    return removed_at_once(rows, among, none)[1].unflatten(0, (len(weight), -1))


def best_of_groups(
    weight: Float[Tensor, "blocks size"],
    inverse: Float[Tensor, "blocks size size"],
    pattern: NOfM,
) -> Bool[Tensor, "blocks size"]:
    """The mask of each group of m that costs its block least, by itself.

    Raises:
        ValueError: not 0 <= n <= m, or m is 0.
    """
    n, m = pattern
    if not 0 <= n <= m or m == 0:
        raise ValueError(f"N:M needs 0 <= N <= M and M of at least 1, got {n}:{m}")
    rows, among = _in_groups(weight, inverse, m)
    choices = torch.zeros(len(list(combinations(range(m), n))), m, dtype=torch.bool)
    for row, places in zip(choices, combinations(range(m), n), strict=True):
        row[list(places)] = True
    choices = choices.to(weight.device)
    costs = [removed_at_once(rows, among, each.expand_as(rows))[1] for each in choices]
    best = torch.stack(costs).argmin(0)
    return choices[best].reshape(weight.shape)


def _in_groups(weight: Tensor, inverse: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """The weights of each group, and the square of the inverse that is theirs."""
    tiles = inverse.unflatten(2, (-1, group)).unflatten(1, (-1, group))
    mine = tiles.diagonal(dim1=1, dim2=3).movedim(-1, 1)  # (blocks, groups, group, group)
    return weight.reshape(-1, group), mine.reshape(-1, group, group)


def _rows_divide(layer: nn.Module, name: str, group: int) -> None:
    if isinstance(layer, Conv1D):
        raise ValueError(f"{name!r} is of a Conv1D: its neighbours in memory are not inputs")
    d_in = layer.weight[0].numel()
    if d_in % group:
        raise ValueError(f"{name!r} has rows of {d_in}, which do not divide into groups of {group}")


def _divides(config: FisherConfig, group: int) -> None:
    if group < 1 or config.block_size % group:
        raise ValueError(f"blocks of {config.block_size} do not divide into groups of {group}")
