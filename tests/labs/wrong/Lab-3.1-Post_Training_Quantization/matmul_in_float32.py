"""Multiplies in float32, which holds integers only up to 2**24."""

# wrong: 02/test-integer-matmul


def integer_matmul(a: Tensor, weight: Tensor, a_zero: int, weight_zero: int) -> Tensor:
    return ((a.float() - a_zero) @ (weight.float() - weight_zero).T).to(torch.int32)
