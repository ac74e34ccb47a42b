"""Forgets the shape."""

# wrong: 01/test-without-lowest


def without_lowest(scores: Tensor, count: int) -> Tensor:
    if not 0 <= count <= scores.numel():
        raise ValueError(f"cannot remove {count} of {scores.numel()} weights")
    mask = torch.ones(scores.numel(), dtype=torch.bool)
    mask[scores.flatten().argsort(stable=True)[:count]] = False
    return mask
