"""Joins the layers in the order of their names."""

# wrong: 02/test-global-masks


def global_masks(scores: dict[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    if not scores:
        raise ValueError("there is nothing to compare")
    names = sorted(scores)
    flat = torch.cat([scores[name].flatten() for name in names])
    kept = without_lowest(flat, removed_count(len(flat), sparsity))
    parts = dict(zip(names, kept.split([scores[name].numel() for name in names]), strict=True))
    return {name: parts[name].reshape(scores[name].shape) for name in scores}
