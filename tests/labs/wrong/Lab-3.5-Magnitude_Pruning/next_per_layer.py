"""Every layer loses the same share."""

# wrong: 03/test-next-masks


def next_masks(
    weights: dict[str, Tensor], masks: dict[str, Tensor], sparsity: float
) -> dict[str, Tensor]:
    found = {}
    for name, weight in weights.items():
        scores = weight.abs().masked_fill(~masks[name], -1).flatten()
        removed = int(sparsity * len(scores) + 0.5)
        if (
            sum(int((~mask).sum()) for mask in masks.values())
            > sparsity * sum(w.numel() for w in weights.values()) + 0.5
        ):
            raise ValueError("it must rise")
        kept = torch.ones(len(scores), dtype=torch.bool)
        kept[scores.argsort(stable=True)[:removed]] = False
        found[name] = kept.view(weight.shape)
    return found
