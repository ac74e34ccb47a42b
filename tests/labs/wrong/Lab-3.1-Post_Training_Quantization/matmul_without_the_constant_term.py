"""Forgets the last term, K times both zero points."""

# wrong: 02/test-integer-matmul


def integer_matmul(a: Tensor, weight: Tensor, a_zero: int, weight_zero: int) -> Tensor:
    a, weight = a.long(), weight.long()
    corrections = weight_zero * a.sum(1, keepdim=True) + a_zero * weight.sum(1)
    return (a @ weight.T - corrections).to(torch.int32)
