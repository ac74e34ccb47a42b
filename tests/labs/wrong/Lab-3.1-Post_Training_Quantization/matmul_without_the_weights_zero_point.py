"""Assumes symmetric weights."""

# wrong: 02/test-integer-matmul


def integer_matmul(a: Tensor, weight: Tensor, a_zero: int, weight_zero: int) -> Tensor:
    return (a.int() - a_zero) @ weight.int().T
