"""Adds the gradient."""

# wrong: 03/test-masked-sgd


def masked_sgd(
    weight: Tensor,
    mask: Tensor,
    velocity: Tensor,
    gradients: list[Tensor],
    rate: float,
    momentum: float,
    decay: float,
) -> tuple[Tensor, Tensor]:
    weight, velocity = weight * mask, velocity * mask
    for gradient in gradients:
        velocity = (momentum * velocity + gradient + decay * weight) * mask
        weight = (weight + rate * velocity) * mask
    return weight, velocity
