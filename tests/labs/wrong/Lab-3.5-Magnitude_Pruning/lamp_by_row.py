"""One row is one layer."""

# wrong: 02/test-lamp-scores


def lamp_scores(weight: Tensor) -> Tensor:
    squares = weight.double().square().reshape(len(weight), -1)
    order = squares.argsort(dim=1, stable=True)
    ordered = squares.gather(1, order)
    left = ordered.flip(1).cumsum(1).flip(1).clamp(min=1e-300)
    return torch.zeros_like(squares).scatter(1, order, ordered / left).reshape(weight.shape)
