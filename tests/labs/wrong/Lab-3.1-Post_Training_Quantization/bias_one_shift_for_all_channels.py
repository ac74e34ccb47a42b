"""Takes the mean over everything, the channels too."""

# wrong: 04/test-correct-bias


def correct_bias(bias: Tensor, outputs: Tensor, rounded_outputs: Tensor) -> Tensor:
    return bias + (outputs - rounded_outputs).mean()
