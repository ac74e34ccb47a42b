"""Forgets the zero point: sums the codes as they are."""

# wrong: 03/test-accumulate
# carries: test-quantized-linear, test-mlp-logits


def accumulate(codes: Tensor, zero_point: Tensor, weight_codes: Tensor) -> Tensor:
    return codes.to(torch.int32) @ weight_codes.to(torch.int32).T
