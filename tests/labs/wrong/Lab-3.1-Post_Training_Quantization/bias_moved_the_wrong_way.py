"""Adds the shift that rounding caused instead of taking it off."""

# wrong: 04/test-correct-bias


def correct_bias(bias: Tensor, outputs: Tensor, rounded_outputs: Tensor) -> Tensor:
    shift = (rounded_outputs - outputs).transpose(0, 1).flatten(1).mean(1)
    return bias + shift
