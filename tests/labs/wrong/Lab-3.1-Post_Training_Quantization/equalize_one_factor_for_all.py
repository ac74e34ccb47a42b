"""Takes the largest weight of each layer, and one factor for all channels."""

# wrong: 04/test-equalize


def equalize(
    first_weight: Tensor, first_bias: Tensor, second_weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if second_weight.shape[1] != len(first_weight):
        raise ValueError("the layers do not fit")
    factor = (first_weight.abs().max() / second_weight.abs().max()).sqrt()
    return first_weight / factor, first_bias / factor, second_weight * factor
