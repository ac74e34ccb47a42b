"""Masks the weight after each step, and lets the velocity run on."""

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
    weight = weight * mask
    for gradient in gradients:
        velocity = momentum * velocity + gradient + decay * weight
        weight = (weight - rate * velocity) * mask
    return weight, velocity
