"""One threshold for all: equal scores go together."""

# wrong: 02/test-global-masks


def global_masks(scores: dict[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    if not scores:
        raise ValueError("there is nothing to compare")
    flat = torch.cat([each.flatten() for each in scores.values()])
    count = removed_count(len(flat), sparsity)
    if count == 0:
        return {name: torch.ones_like(each, dtype=torch.bool) for name, each in scores.items()}
    edge = flat.sort().values[count - 1]
    return {name: each > edge for name, each in scores.items()}
