"""Ranks by comparing each with each: lower, or equal and earlier."""

# right: 01


def without_lowest(scores: Tensor, count: int) -> Tensor:
    flat = scores.flatten()
    if count < 0 or count > len(flat):
        raise ValueError("not so many")
    place = torch.arange(len(flat))
    before = (flat[None] < flat[:, None]) | (
        (flat[None] == flat[:, None]) & (place[None] < place[:, None])
    )
    return (before.sum(dim=1) >= count).reshape(scores.shape)
