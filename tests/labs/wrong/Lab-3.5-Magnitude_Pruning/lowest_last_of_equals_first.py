"""Of equal scores the last goes first."""

# wrong: 01/test-without-lowest


def without_lowest(scores: Tensor, count: int) -> Tensor:
    if not 0 <= count <= scores.numel():
        raise ValueError(f"cannot remove {count} of {scores.numel()} weights")
    mask = torch.ones(scores.numel(), dtype=torch.bool)
    order = scores.flatten().flip(0).argsort(stable=True)
    mask[scores.numel() - 1 - order[:count]] = False
    return mask.reshape(scores.shape)
