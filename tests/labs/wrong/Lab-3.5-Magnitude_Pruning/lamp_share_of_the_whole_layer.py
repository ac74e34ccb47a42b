"""Divides by the whole layer."""

# wrong: 02/test-lamp-scores


def lamp_scores(weight: Tensor) -> Tensor:
    squares = weight.flatten().double().square()
    order = squares.argsort(stable=True)
    left = squares.sum().expand(len(squares))
    shares = torch.where(left > 0, squares[order] / left.clamp(min=1e-300), 0.0)
    scores = torch.empty_like(squares)
    scores[order] = shares
    return scores.reshape(weight.shape)
