"""Signed weights: the most negative go first."""

# wrong: 03/test-next-masks


def next_masks(
    weights: dict[str, Tensor], masks: dict[str, Tensor], sparsity: float
) -> dict[str, Tensor]:
    scores = torch.cat(
        [w.masked_fill(~masks[name], -torch.inf).flatten() for name, w in weights.items()]
    )
    removed = int(sparsity * len(scores) + 0.5)
    if scores.isinf().sum() > removed:
        raise ValueError(f"more is gone than a sparsity of {sparsity} removes; it must rise")
    kept = torch.ones(len(scores), dtype=torch.bool)
    kept[scores.argsort(stable=True)[:removed]] = False
    parts = kept.split([w.numel() for w in weights.values()])
    return {name: part.view(weights[name].shape) for name, part in zip(weights, parts, strict=True)}
