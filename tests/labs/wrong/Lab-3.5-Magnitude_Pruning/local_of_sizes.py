"""Takes the size of scores that may be negative."""

# wrong: 02/test-local-masks


def local_masks(scores: dict[str, Tensor], sparsities: dict[str, float]) -> dict[str, Tensor]:
    if scores.keys() != sparsities.keys():
        raise ValueError("scores and sparsities name different weights")
    return {
        name: without_lowest(each.abs(), removed_count(each.numel(), sparsities[name]))
        for name, each in scores.items()
    }
