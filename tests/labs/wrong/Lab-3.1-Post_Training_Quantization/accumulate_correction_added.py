"""Has the sign of the correction wrong."""

# wrong: 03/test-accumulate
# carries: test-quantized-linear, test-mlp-logits


def accumulate(codes: Tensor, zero_point: Tensor, weight_codes: Tensor) -> Tensor:
    weight_codes = weight_codes.to(torch.int32)
    return codes.to(torch.int32) @ weight_codes.T + zero_point * weight_codes.sum(1).int()
