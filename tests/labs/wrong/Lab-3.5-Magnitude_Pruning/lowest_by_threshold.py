"""Compares with the k-th value: equal ones go together."""

# wrong: 01/test-without-lowest


def without_lowest(scores: Tensor, count: int) -> Tensor:
    if not 0 <= count <= scores.numel():
        raise ValueError(f"cannot remove {count} of {scores.numel()} weights")
    if count == 0:
        return torch.ones(scores.shape, dtype=torch.bool)
    return scores > scores.flatten().kthvalue(count).values
