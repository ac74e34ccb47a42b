"""Casts to uint8 without clamping, so what does not fit wraps around."""

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
    codes = ((x / scale).round() + zero_point).to(torch.int32).to(torch.uint8)
    return accumulate(codes, zero_point, weight_codes) * (scale * weight_scale) + bias
