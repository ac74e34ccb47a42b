"""Removing heads, neurons, layers and width from a Transformer: smaller, not masked.

    heads      rows of query, key, value; columns of out                  head_dim stays
    neurons    rows of expand and gate; columns of contract
    layers     entries of the list of blocks; the rest are numbered anew, as caches count them
    width      one axis of every matrix, norm and table, and the output layer that is tied to one

    removed(x) = masked(x)     with masked_heads, masked_neurons, skipped and masked_width

Each function gives a copy with parameters of its own; ties stay ties, and module attributes and the
config follow. What a config cannot say is written beside it: transformer_config.py.

Source    Michel et al., 2019, arXiv:1905.10650 (heads); Men et al., 2024, arXiv:2403.03853
          (layers); Muralidharan et al., 2024, arXiv:2407.14679 (neurons and width).
Left out  Optimizers: make a new one, since its state has the old shapes.
Read      architecture.py says where the parts lie. remove.py is the same for channels.
"""

import copy
from collections.abc import Collection, Mapping

from jaxtyping import Bool
from torch import Tensor, nn

from reference import walk
from reference.pruning.structured import heads, neurons
from reference.pruning.structured.architecture import (
    all_norms,
    architecture,
    block_widths,
)
from reference.pruning.structured.depth import check_layers
from reference.pruning.structured.head_slices import cut_heads_, kept_heads
from reference.pruning.structured.slices import (
    Kept,
    cut_inputs_,
    cut_outputs_,
    cut_table_,
    select_,
    tie_,
    ties,
)
from reference.pruning.structured.transformer_config import describe_
from reference.pruning.structured.width import check_width, cut_stream_norm_


def remove_heads(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """A copy without the query heads that the masks remove, by the name of the block: (heads,).

    Key/value heads whose query heads have all gone go too. Blocks without a mask keep all.

    Raises:
        ValueError: a mask for no block or of another size, one that keeps nothing, or key/value
            groups left with unequal numbers of query heads.
    """
    kept = {
        block.name: kept_heads(
            block, heads.checked(model, block, masks), block_widths(model, block)
        )
        for block in heads.named_blocks(model, masks)
    }
    found = copy.deepcopy(model)
    for block in heads.named_blocks(found, masks):
        cut_heads_(found, block, *kept[block.name])
    return describe_(found)


def remove_neurons(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """A copy without the FFN neurons that the masks remove, by the name of the block: (ffn,).

    Raises:
        ValueError: a mask for no block or of another size, or one that keeps nothing.
    """
    kept = {}
    for block in heads.named_blocks(model, masks):
        mask = neurons.checked(model, block, masks)
        if not mask.any():
            raise ValueError(f"{block.name} would keep no neuron of {len(mask)}")
        kept[block.name] = mask.nonzero().flatten()
    found = copy.deepcopy(model)
    for block in heads.named_blocks(found, masks):
        for name in block.inward:
            cut_outputs_(found.get_submodule(name), kept[block.name])
        cut_inputs_(found.get_submodule(block.contract), kept[block.name])
    return describe_(found)


def remove_layers(model: nn.Module, layers: Collection[int]) -> nn.Module:
    """A copy without these layers, counted from 0.

    Raises:
        ValueError: no such layer, none that stays, or a layer whose scale is by its place.
    """
    known = architecture(model)
    check_layers(len(known.blocks), layers)
    if len(layers) == len(known.blocks):
        raise ValueError(f"a model needs a layer, got all {len(layers)} to remove")
    if layers and getattr(getattr(model, "config", None), "scale_attn_by_inverse_layer_idx", False):
        raise ValueError(
            "scale_attn_by_inverse_layer_idx ties attention to a layer's place; expected False"
        )
    found = copy.deepcopy(model)
    blocks = found.get_submodule(known.layers)
    stay = nn.ModuleList(block for i, block in enumerate(blocks) if i not in layers)
    walk.replace_(found, known.layers, stay)
    for place, block in enumerate(stay):
        for part in block.modules():
            if hasattr(part, "layer_idx"):
                part.layer_idx = place
    return describe_(found)


def remove_width(model: nn.Module, mask: Bool[Tensor, " width"]) -> nn.Module:
    """A copy without the features of the residual stream that the mask removes.

    Raises:
        ValueError: a mask of another size, one that keeps nothing, or a width into which the heads
            that the config says do not divide.
    """
    kept = check_width(model, mask)
    known = architecture(model)
    found = copy.deepcopy(model)
    tied = ties(found)
    for name in known.embeddings:
        _cut_embedding_(found.get_submodule(name), kept)
    for name in known.tables:
        parent, _, child = name.rpartition(".")
        select_(found.get_submodule(parent), child, 2, kept)
    for name in all_norms(known):
        norm = found.get_submodule(name)
        cut_stream_norm_(norm, kept)
    for block in known.blocks:
        for name in block.readers:
            cut_inputs_(found.get_submodule(name), kept)
        for name in block.writers:
            cut_outputs_(found.get_submodule(name), kept)
    _cut_ends_(found, kept)
    if hasattr(norm, "variance_epsilon"):
        found.config.rms_norm_eps = norm.variance_epsilon
    tie_(found, tied)
    return describe_(found)


def _cut_embedding_(embedding: nn.Module, kept: Kept) -> None:
    if isinstance(embedding, nn.Embedding):
        cut_table_(embedding, kept)
    else:
        cut_outputs_(embedding, kept)


def _cut_ends_(model: nn.Module, kept: Kept) -> None:
    """What reads the last norm; and what reads the pooled vector, where that is as wide."""
    known = architecture(model)
    if known.pooler:
        cut_inputs_(model.get_submodule(known.pooler), kept)
        if known.pooler_follows:
            cut_outputs_(model.get_submodule(known.pooler), kept)
    for name in known.heads:
        cut_inputs_(model.get_submodule(name), kept)
    for part in model.modules():
        for name in ("hidden_size", "embed_dim"):
            if hasattr(part, name):
                setattr(part, name, len(kept))
