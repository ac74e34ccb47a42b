"""A plain loop, and a check by sets."""

# right: 02


def local_masks(scores: dict[str, Tensor], sparsities: dict[str, float]) -> dict[str, Tensor]:
    if set(scores) ^ set(sparsities):
        raise ValueError("names differ")
    masks = {}
    for name in scores:
        count = removed_count(scores[name].numel(), sparsities[name])
        masks[name] = without_lowest(scores[name], count)
    return masks
