"""Attention heads: what each is worth, and which can go.

A head is d neighbouring columns of the output projection, with the rows of query, key and value
behind them. Masked means that its context is zero before that projection, whose bias stays.

    gradient     E |dL/dxi_h|                        Michel 2019; gates.py says why
    taylor       E (dL/dxi_h)^2                      Molchanov 2019, Kwon 2022
    weight norm  ||(W_q, W_k, W_v, W_o) of h||_2
    by what it looks at: head_attention.py

Query heads that share a key and value (GQA) are one group. What can be removed of a layer is what
leaves every group that stays with equally many query heads, since the modules repeat each key so
often: whole groups (`of_groups`), or the same number within each (`within_groups`). Without GQA
every head is a group of its own.

Source    Michel et al., "Are Sixteen Heads Really Better than One?", 2019, arXiv:1905.10650;
          Ainslie et al., "GQA", 2023, arXiv:2305.13245 (the groups).
Differs   A group's score is the sum of its query heads'.
Left out  L0 gates that are learned (Voita et al., 2019); pruning again after each training step.
Read      remove_transformer.py removes what the masks say.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from reference.pruning.masks import Masks, row_mask
from reference.pruning.structured import gates
from reference.pruning.structured.architecture import Block, architecture, block_widths
from reference.pruning.structured.slices import of_outputs

Scores = dict[str, Tensor]  # by the name of the block: (heads,)


def gradient(model: nn.Module, loss_of: gates.LossOf, batches: Sequence[gates.Batch]) -> Scores:
    """E |dL/dxi| of each head's gate. Raises ValueError without batches."""
    return gates.mean_absolute(_slopes(model, loss_of, batches))


def taylor(model: nn.Module, loss_of: gates.LossOf, batches: Sequence[gates.Batch]) -> Scores:
    """E (dL/dxi)^2 of each head's gate. Raises ValueError without batches."""
    return gates.mean_square(_slopes(model, loss_of, batches))


@torch.no_grad()
def weight_norm(model: nn.Module) -> Scores:
    """The L2 norm of all weights that go with a head; shared keys and values count for each."""
    return {block.name: _energy(model, block).sqrt() for block in architecture(model).blocks}


def random(model: nn.Module, generator: torch.Generator) -> Scores:
    """The control: what a score must beat."""
    counts = {b.name: block_widths(model, b).heads for b in architecture(model).blocks}
    return {name: torch.rand(count, generator=generator) for name, count in counts.items()}


def normalised(scores: Mapping[str, Tensor]) -> Scores:
    """Each layer's scores by their L2 norm, for a comparison over layers (Michel 2019)."""
    smallest = torch.finfo(torch.float32).tiny
    return {name: each / each.norm().clamp(min=smallest) for name, each in scores.items()}


def group_scores(model: nn.Module, scores: Mapping[str, Tensor]) -> Scores:
    """The sum over the query heads of each key/value group: (kv_heads,)."""
    blocks = {block.name: block for block in architecture(model).blocks}
    return {
        name: each.reshape(block_widths(model, blocks[name]).kv_heads, -1).sum(1)
        for name, each in scores.items()
    }


def of_groups(model: nn.Module, masks: Mapping[str, Tensor]) -> Masks:
    """Masks of key/value groups as masks of their query heads."""
    found = {}
    for block in architecture(model).blocks:
        if block.name in masks:
            widths = block_widths(model, block)
            found[block.name] = masks[block.name].repeat_interleave(widths.heads // widths.kv_heads)
    return found


def within_groups(model: nn.Module, scores: Mapping[str, Tensor], sparsity: float) -> Masks:
    """The same number of query heads goes from every group; keys and values stay.

    Raises:
        ValueError: the sparsity leaves a group without a query head, or is not within 0 and 1.
    """
    found = {}
    for block in architecture(model).blocks:
        kv_heads = block_widths(model, block).kv_heads
        mask = row_mask(scores[block.name].reshape(kv_heads, -1), sparsity)
        if not mask.any():
            size = mask.shape[1]
            raise ValueError(f"sparsity {sparsity} leaves no query head of {size} in a group")
        found[block.name] = mask.flatten()
    return found


@contextmanager
def masked_heads(model: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, the context of removed heads is zero. Blocks without a mask keep all.

    Raises:
        ValueError: a mask for no block, or not one entry for each head.
    """
    outs = {block.out: checked(model, block, masks) for block in named_blocks(model, masks)}
    with gates.gated(model, outs):
        yield


def named_blocks(model: nn.Module, masks: Mapping[str, Tensor]) -> list[Block]:
    """The blocks that masks are for, in the model's order.

    Raises:
        ValueError: a mask names no block.
    """
    blocks = architecture(model).blocks
    for name in masks:
        if name not in {block.name for block in blocks}:
            raise ValueError(f"there is no block {name!r}; expected one like {blocks[0].name!r}")
    return [block for block in blocks if block.name in masks]


def checked(model: nn.Module, block: Block, masks: Mapping[str, Tensor]) -> Tensor:
    mask, count = masks[block.name], block_widths(model, block).heads
    if mask.shape != (count,):
        shape = tuple(mask.shape)
        raise ValueError(f"{block.name} has {count} heads, its mask has shape {shape}")
    return mask


def _slopes(model: nn.Module, loss_of: gates.LossOf, batches: Sequence[gates.Batch]) -> Scores:
    blocks = architecture(model).blocks
    counts = {block.out: block_widths(model, block).heads for block in blocks}
    found = gates.slopes(model, counts, loss_of, batches)
    return {block.name: found[block.out] for block in blocks}


def _energy(model: nn.Module, block: Block) -> Tensor:
    widths = block_widths(model, block)
    size = widths.heads * widths.head_dim
    weights = [of_outputs(model.get_submodule(name)) for name in block.qkv]
    query, key, value = weights[0].split(size) if block.fused else weights
    per_head = of_outputs(model.get_submodule(block.out)).square().sum(0)
    per_head = (per_head + query.square().sum(1)).reshape(widths.heads, -1).sum(1)
    shared = (key.square() + value.square()).sum(1).reshape(widths.kv_heads, -1).sum(1)
    return per_head + shared.repeat_interleave(widths.heads // widths.kv_heads)
