"""Adds the products up in 16 bits, which overflow."""

# wrong: 03/test-accumulate
# carries: test-quantized-linear, test-mlp-logits


def accumulate(codes: Tensor, zero_point: Tensor, weight_codes: Tensor) -> Tensor:
    shifted = codes.to(torch.int16) - zero_point.to(torch.int16)
    products = shifted[:, None, :] * weight_codes.to(torch.int16)
    return products.sum(2, dtype=torch.int16).to(torch.int32)
