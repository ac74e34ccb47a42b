"""Dequantizes both operands and multiplies in float64, without the exercise before."""

# right: 03


def quantized_linear(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    weight_codes: Tensor,
    weight_scale: Tensor,
    bias: Tensor,
) -> Tensor:
    steps = torch.clamp(torch.round(x / scale), -zero_point, 255 - zero_point)
    on_grid = steps.double() * scale.double()
    weight = weight_codes.double() * weight_scale.double()[:, None]
    return (on_grid @ weight.T + bias).float()
