"""Adds the bias before the sum is scaled back."""

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
    codes = ((x / scale).round() + zero_point).clamp(0, 255).to(torch.uint8)
    return (accumulate(codes, zero_point, weight_codes) + bias) * (scale * weight_scale)
