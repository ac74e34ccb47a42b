"""Takes each zero point off the other operand."""

# wrong: 02/test-integer-matmul


def integer_matmul(a: Tensor, weight: Tensor, a_zero: int, weight_zero: int) -> Tensor:
    a, weight = a.long(), weight.long()
    return ((a - weight_zero) @ (weight - a_zero).T).to(torch.int32)
