"""Takes the zero point off in uint8, where 3 - 128 is 131."""

# wrong: 03/test-accumulate
# carries: test-quantized-linear, test-mlp-logits


def accumulate(codes: Tensor, zero_point: Tensor, weight_codes: Tensor) -> Tensor:
    shifted = codes - zero_point.to(torch.uint8)
    return shifted.int() @ weight_codes.int().T
