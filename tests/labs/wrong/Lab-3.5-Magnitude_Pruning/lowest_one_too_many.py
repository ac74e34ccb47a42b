"""Off by one: removes the k-th of the sorted ones, counted from 0, too."""

# wrong: 01/test-without-lowest


def without_lowest(scores: Tensor, count: int) -> Tensor:
    if not 0 <= count <= scores.numel():
        raise ValueError(f"cannot remove {count} of {scores.numel()} weights")
    mask = torch.ones(scores.numel(), dtype=torch.bool)
    mask[scores.flatten().argsort(stable=True)[: count + 1]] = False
    return mask.reshape(scores.shape)
