"""Multiplies in float64, which holds every integer up to 2**53."""

# right: 02


def integer_matmul(a: Tensor, weight: Tensor, a_zero: int, weight_zero: int) -> Tensor:
    return ((a.double() - a_zero) @ (weight.double() - weight_zero).T).to(torch.int32)
