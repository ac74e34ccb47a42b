"""Moves all of the range to the second layer."""

# wrong: 04/test-equalize


def equalize(
    first_weight: Tensor, first_bias: Tensor, second_weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if second_weight.shape[1] != len(first_weight):
        raise ValueError("the layers do not fit")
    made = first_weight.flatten(1).abs().amax(1)
    read = second_weight.transpose(0, 1).flatten(1).abs().amax(1)
    scale = torch.where((made > 0) & (read > 0), made / read, 1.0)
    down = scale.reshape(-1, *[1] * (first_weight.dim() - 1))
    up = scale.reshape(1, -1, *[1] * (second_weight.dim() - 2))
    return first_weight / down, first_bias / scale, second_weight * up
