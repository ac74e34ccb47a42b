"""Takes the mean of each output by itself, over all axes but the channel."""

# right: 04


def correct_bias(bias: Tensor, outputs: Tensor, rounded_outputs: Tensor) -> Tensor:
    axes = [axis for axis in range(outputs.dim()) if axis != 1]
    return (
        bias.double().add(outputs.double().mean(axes) - rounded_outputs.double().mean(axes)).float()
    )
