"""Multiplies the real input with the dequantized weights: nothing is on a grid."""

# wrong: 03/test-quantized-linear
# carries: test-mlp-logits


def quantized_linear(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    weight_codes: Tensor,
    weight_scale: Tensor,
    bias: Tensor,
) -> Tensor:
    return x @ (weight_codes * weight_scale[:, None]).T + bias
