"""Rounds the count of each layer and adds them up."""

# wrong: 02/test-global-masks


def global_masks(scores: dict[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    if not scores:
        raise ValueError("there is nothing to compare")
    flat = torch.cat([each.flatten() for each in scores.values()])
    kept = without_lowest(
        flat, sum(removed_count(each.numel(), sparsity) for each in scores.values())
    )
    parts = kept.split([each.numel() for each in scores.values()])
    return {
        name: part.reshape(scores[name].shape) for name, part in zip(scores, parts, strict=True)
    }
