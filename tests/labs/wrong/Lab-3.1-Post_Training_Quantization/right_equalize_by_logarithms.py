"""Averages logarithms, and scales by einsum."""

# right: 04


def equalize(
    first_weight: Tensor, first_bias: Tensor, second_weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    channels = len(first_weight)
    if second_weight.shape[1] != channels:
        raise ValueError("the layers do not fit")
    made = first_weight.reshape(channels, -1).abs().max(1).values
    read = second_weight.movedim(1, 0).reshape(channels, -1).abs().max(1).values
    alive = (made * read) > 0
    s = torch.ones(channels)
    s[alive] = (0.5 * (made[alive].log() - read[alive].log())).exp()
    return (
        torch.einsum("c...,c->c...", first_weight, 1 / s),
        first_bias / s,
        torch.einsum("oc...,c->oc...", second_weight, s),
    )
