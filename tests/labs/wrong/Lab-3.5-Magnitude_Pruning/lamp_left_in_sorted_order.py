"""Forgets to put the scores back where they belong."""

# wrong: 02/test-lamp-scores


def lamp_scores(weight: Tensor) -> Tensor:
    squares = weight.flatten().double().square()
    order = squares.argsort(stable=True)
    left = squares[order].flip(0).cumsum(0).flip(0)
    shares = torch.where(left > 0, squares[order] / left.clamp(min=1e-300), 0.0)
    scores = torch.empty_like(squares)
    scores = shares
    return scores.reshape(weight.shape)
