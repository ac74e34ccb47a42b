"""Corrects from the first image alone."""

# wrong: 04/test-correct-bias


def correct_bias(bias: Tensor, outputs: Tensor, rounded_outputs: Tensor) -> Tensor:
    shift = (
        (outputs - rounded_outputs)[0].flatten(1).mean(1)
        if outputs.dim() > 2
        else (outputs - rounded_outputs).mean(0)
    )
    return bias + shift
