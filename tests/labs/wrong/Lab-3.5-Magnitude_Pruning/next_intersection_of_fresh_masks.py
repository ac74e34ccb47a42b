"""Chooses fresh masks and cuts them with the old ones: more is removed than asked for."""

# wrong: 03/test-next-masks


def next_masks(
    weights: dict[str, Tensor], masks: dict[str, Tensor], sparsity: float
) -> dict[str, Tensor]:
    scores = torch.cat([w.abs().flatten() for w in weights.values()])
    removed = int(sparsity * len(scores) + 0.5)
    if sum(int((~mask).sum()) for mask in masks.values()) > removed:
        raise ValueError("it must rise")
    kept = torch.ones(len(scores), dtype=torch.bool)
    kept[scores.argsort(stable=True)[:removed]] = False
    parts = kept.split([w.numel() for w in weights.values()])
    return {
        name: part.view(weights[name].shape) & masks[name]
        for name, part in zip(weights, parts, strict=True)
    }
