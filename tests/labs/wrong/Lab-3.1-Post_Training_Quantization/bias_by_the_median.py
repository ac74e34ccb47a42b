"""Takes the median, which is no mean where errors are skewed."""

# wrong: 04/test-correct-bias


def correct_bias(bias: Tensor, outputs: Tensor, rounded_outputs: Tensor) -> Tensor:
    shift = (outputs - rounded_outputs).transpose(0, 1).flatten(1).median(1).values
    return bias + shift
