"""Returns the masks in the order of the sparsities."""

# wrong: 02/test-local-masks


def local_masks(scores: dict[str, Tensor], sparsities: dict[str, float]) -> dict[str, Tensor]:
    if scores.keys() != sparsities.keys():
        raise ValueError("scores and sparsities name different weights")
    return {
        name: without_lowest(scores[name], removed_count(scores[name].numel(), sparsities[name]))
        for name in sparsities
    }
