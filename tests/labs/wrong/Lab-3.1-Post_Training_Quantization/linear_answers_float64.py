"""Computes in float64 and forgets to come back."""

# wrong: 03/test-quantized-linear


def quantized_linear(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    weight_codes: Tensor,
    weight_scale: Tensor,
    bias: Tensor,
) -> Tensor:
    codes = ((x / scale).round() + zero_point).clamp(0, 255).to(torch.uint8)
    sums = accumulate(codes, zero_point, weight_codes).double()
    return sums * (scale * weight_scale) + bias
