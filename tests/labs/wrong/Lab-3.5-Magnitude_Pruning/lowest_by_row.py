"""Removes the same number in each row."""

# wrong: 01/test-without-lowest


def without_lowest(scores: Tensor, count: int) -> Tensor:
    if not 0 <= count <= scores.numel():
        raise ValueError(f"cannot remove {count} of {scores.numel()} weights")
    rows = scores.reshape(len(scores), -1)
    mask = torch.ones(rows.shape, dtype=torch.bool)
    lowest = rows.argsort(dim=1, stable=True)[:, : count // len(rows)]
    return mask.scatter(1, lowest, False).reshape(scores.shape)
