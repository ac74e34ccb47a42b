"""Returns the shift without the old bias."""

# wrong: 04/test-correct-bias


def correct_bias(bias: Tensor, outputs: Tensor, rounded_outputs: Tensor) -> Tensor:
    return (outputs - rounded_outputs).transpose(0, 1).flatten(1).mean(1)
