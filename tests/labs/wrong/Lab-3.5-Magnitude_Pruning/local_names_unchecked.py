"""Does not look at the names."""

# wrong: 02/test-local-masks


def local_masks(scores: dict[str, Tensor], sparsities: dict[str, float]) -> dict[str, Tensor]:
    return {
        name: without_lowest(each, removed_count(each.numel(), sparsities.get(name, 0.0)))
        for name, each in scores.items()
    }
