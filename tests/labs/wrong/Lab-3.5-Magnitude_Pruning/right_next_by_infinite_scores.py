"""Minus infinity for what is gone, and topk-free sorting of what is left."""

# right: 03


def next_masks(
    weights: dict[str, Tensor], masks: dict[str, Tensor], sparsity: float
) -> dict[str, Tensor]:
    flat = torch.cat([w.abs().flatten() for w in weights.values()])
    alive = torch.cat([masks[name].flatten() for name in weights])
    total, gone = len(flat), int((~alive).sum())
    more = int(sparsity * total + 0.5) - gone
    if more < 0:
        raise ValueError("it must rise")
    places = alive.nonzero().flatten()
    kept = alive.clone()
    kept[places[flat[places].argsort(stable=True)[:more]]] = False
    parts = kept.split([w.numel() for w in weights.values()])
    return {name: part.view_as(weights[name]) for name, part in zip(weights, parts, strict=True)}
