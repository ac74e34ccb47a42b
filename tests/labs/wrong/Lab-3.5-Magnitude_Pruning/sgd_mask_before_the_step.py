"""Masks before each step and not after it."""

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
    for gradient in gradients:
        weight, velocity = weight * mask, velocity * mask
        velocity = momentum * velocity + gradient + decay * weight
        weight = weight - rate * velocity
    return weight, velocity
