"""Sorts pairs of score and place in Python."""

# right: 01


def without_lowest(scores: Tensor, count: int) -> Tensor:
    values = scores.flatten().tolist()
    if count not in range(len(values) + 1):
        raise ValueError("not so many")
    gone = {place for _, place in sorted(zip(values, range(len(values)), strict=True))[:count]}
    return torch.tensor([place not in gone for place in range(len(values))]).reshape(scores.shape)
