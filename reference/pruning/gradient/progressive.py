"""Masks in many small steps: what is scored at each is the network that the steps before left.

    density after step t of T = density^(t/T)                  `geometric` of schedules.py

Each step takes the same share of what is left, so late steps, where a layer has few weights to
lose, are small ones.

Source    Tanaka et al., "Pruning neural networks without any data by iteratively conserving
          synaptic flow", 2020, arXiv:2006.05467; de Jorge et al., "Progressive Skeletonization",
          2021, arXiv:2006.09081.
Read      Used by snip.py and synflow.py.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from reference.pruning.masks import Masks, Scores, all_kept, global_masks
from reference.pruning.schedules import Schedule, geometric


def progressive_masks(
    weights: Mapping[str, Tensor], score: Callable[[Masks], Scores], sparsity: float, steps: int
) -> Masks:
    """Global masks, one step after the other; `score` is given the masks so far.

    Raises:
        ValueError: a sparsity not within 0 and 1, or 1 in more than one step; no step.
    """
    masks = all_kept(weights)
    for each in Schedule(sparsity, steps, geometric).values():
        masks = global_masks(score(masks), each)
    return masks
