"""Does not look at the count."""

# wrong: 01/test-without-lowest


def without_lowest(scores: Tensor, count: int) -> Tensor:
    mask = torch.ones(scores.numel(), dtype=torch.bool)
    mask[scores.flatten().argsort(stable=True)[:count]] = False
    return mask.reshape(scores.shape)
