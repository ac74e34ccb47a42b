"""Divides zero by zero in a layer of zeros."""

# wrong: 02/test-lamp-scores


def lamp_scores(weight: Tensor) -> Tensor:
    squares = weight.flatten().double().square()
    order = squares.argsort(stable=True)
    left = squares[order].flip(0).cumsum(0).flip(0)
    shares = squares[order] / left
    scores = torch.empty_like(squares)
    scores[order] = shares
    return scores.reshape(weight.shape)
