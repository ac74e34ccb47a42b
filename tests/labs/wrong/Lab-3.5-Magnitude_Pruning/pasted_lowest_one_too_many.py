"""Pastes a `without_lowest` that is off by one: both ways of part 2 pay."""

# wrong: 02/test-local-masks, test-global-masks


def without_lowest(scores: Tensor, count: int) -> Tensor:
    if not 0 <= count <= scores.numel():
        raise ValueError(f"cannot remove {count} of {scores.numel()} weights")
    mask = torch.ones(scores.numel(), dtype=torch.bool)
    mask[scores.flatten().argsort(stable=True)[: count + 1]] = False
    return mask.reshape(scores.shape)
