"""Finds the places of the lowest in one list, and cuts a mask of ones at offsets."""

# right: 02


def global_masks(scores: dict[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    if len(scores) == 0 or not 0 <= sparsity <= 1:
        raise ValueError("nothing to compare, or no share")
    flat = torch.cat([each.reshape(-1) for each in scores.values()])
    count = int(sparsity * len(flat) + 0.5)
    mask = torch.ones_like(flat).scatter(0, flat.sort(stable=True).indices[:count], 0).bool()
    found, at = {}, 0
    for name, each in scores.items():
        found[name] = mask[at : at + each.numel()].view_as(each)
        at += each.numel()
    return found
