"""From scores of whole units to masks: how many units a layer keeps, and which.

    even       every layer loses the same share
    overall    all units in one comparison; as many of each layer's best as `multiple` stay

Kernels like sizes in multiples of 8 or 16, so that a layer's count can be rounded to the nearest
multiple. A layer that has no such multiple keeps everything. Removing a layer's last unit leaves a
matrix without columns: that is refused, because it is depth.py's business.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reference.pruning.masks import Masks, global_masks, removed_count, without_lowest


def kept_mask(
    scores: Float[Tensor, " units"], sparsity: float, multiple: int = 1
) -> Bool[Tensor, " units"]:
    """One layer by itself.

    Raises:
        ValueError: nothing would be kept, the sparsity is not within 0 and 1, or multiple < 1.
    """
    kept = len(scores) - removed_count(len(scores), sparsity)
    if kept == 0:
        raise ValueError(
            f"sparsity {sparsity} leaves none of {len(scores)} units; remove the layer instead"
        )
    return without_lowest(scores, len(scores) - rounded(kept, len(scores), multiple))


def even(scores: Mapping[str, Tensor], sparsity: float, multiple: int = 1) -> Masks:
    """Every layer loses the same share. Refuses what `kept_mask` refuses."""
    return {name: kept_mask(each, sparsity, multiple) for name, each in scores.items()}


def overall(scores: Mapping[str, Tensor], sparsity: float, multiple: int = 1) -> Masks:
    """All units in one comparison. Counts are rounded after it.

    Raises:
        ValueError: the best of each layer are more than may be kept.
    """
    spared = {name: _best(each, rounded(1, len(each), multiple)) for name, each in scores.items()}
    total = sum(len(each) for each in scores.values())
    most = total - sum(int(each.sum()) for each in spared.values())
    if removed_count(total, sparsity) > most:
        raise ValueError(
            f"sparsity {sparsity} removes {removed_count(total, sparsity)} of {total} units; the "
            f"best of every layer stay, so that at most {most} can go"
        )
    raised = {
        name: each.masked_fill(spared[name].to(each.device), torch.inf)
        for name, each in scores.items()
    }
    counts = {name: int(mask.sum()) for name, mask in global_masks(raised, sparsity).items()}
    return {
        name: without_lowest(each, len(each) - rounded(counts[name], len(each), multiple))
        for name, each in scores.items()
    }


def rounded(kept: int, size: int, multiple: int) -> int:
    """The multiple nearest to `kept`, within one and what fits into `size`; all where all stay.

    Raises:
        ValueError: the multiple is below 1.
    """
    if multiple < 1:
        raise ValueError(f"multiple must be at least 1, got {multiple}")
    most = size // multiple
    if most == 0 or kept == size:
        return size
    return multiple * min(max((2 * kept + multiple) // (2 * multiple), 1), most)


def _best(scores: Tensor, count: int) -> Tensor:
    return without_lowest(scores, len(scores) - count)
