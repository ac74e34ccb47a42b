"""Counts rows instead of weights."""

# wrong: 02/test-local-masks


def local_masks(scores: dict[str, Tensor], sparsities: dict[str, float]) -> dict[str, Tensor]:
    if scores.keys() != sparsities.keys():
        raise ValueError("scores and sparsities name different weights")
    return {
        name: without_lowest(each, removed_count(len(each), sparsities[name]))
        for name, each in scores.items()
    }
