"""Which rows and columns of a block's matrices belong to its heads, and cutting them.

query head h             rows h d .. (h + 1) d of query; the same columns of out
key/value head           those rows of key and value; it goes when all its query heads have gone
GPT-2's fused matrix     query, key and value one behind another
"""

import torch
from torch import Tensor, nn

from reference.pruning.structured.architecture import Block, LayerWidths, block_widths
from reference.pruning.structured.slices import Kept, cut_inputs_, cut_outputs_
from reference.pruning.structured.transformer_config import say_heads_


def kept_heads(block: Block, mask: Tensor, widths: LayerWidths) -> tuple[Kept, Kept]:
    """Query heads and key/value heads that stay.

    Raises:
        ValueError: none stays, or key/value groups are left with unequal numbers of query heads.
    """
    by_group = mask.reshape(widths.kv_heads, -1)
    counts = by_group.sum(1)
    if not counts.any():
        raise ValueError(
            f"{block.name} would keep no head of {len(mask)}; remove the layer instead"
        )
    groups = counts.nonzero().flatten()
    if len(counts[groups].unique()) > 1:
        raise ValueError(
            f"{block.name} would keep {counts.tolist()} query heads of its key/value groups; "
            "groups that stay must keep equally many"
        )
    return mask.nonzero().flatten(), groups


def cut_heads_(model: nn.Module, block: Block, queries: Kept, groups: Kept) -> None:
    """Keep these heads of a block, in the model that is given."""
    widths = block_widths(model, block)
    rows, shared = (_spread(each, widths.head_dim) for each in (queries, groups))
    if block.fused:
        size = widths.heads * widths.head_dim
        thirds = torch.cat([rows + third * size for third in range(3)])
        cut_outputs_(model.get_submodule(block.query), thirds)
    else:
        cut_outputs_(model.get_submodule(block.query), rows)
        cut_outputs_(model.get_submodule(block.key), shared)
        cut_outputs_(model.get_submodule(block.value), shared)
    cut_inputs_(model.get_submodule(block.out), rows)
    left = LayerWidths(len(queries), len(groups), widths.head_dim, widths.ffn)
    say_heads_(model.get_submodule(block.attention), left)


def _spread(heads_kept: Kept, head_dim: int) -> Kept:
    within = torch.arange(head_dim, device=heads_kept.device)
    return (heads_kept.unsqueeze(1) * head_dim + within).flatten()
