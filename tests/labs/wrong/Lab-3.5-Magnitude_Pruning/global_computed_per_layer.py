"""Each layer loses the same share: local, not global."""

# wrong: 02/test-global-masks


def global_masks(scores: dict[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    if not scores:
        raise ValueError("there is nothing to compare")
    return {
        name: without_lowest(each, removed_count(each.numel(), sparsity))
        for name, each in scores.items()
    }
