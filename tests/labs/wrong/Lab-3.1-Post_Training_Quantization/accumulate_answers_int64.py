"""Is exact, and answers int64 where int32 is asked."""

# wrong: 03/test-accumulate


def accumulate(codes: Tensor, zero_point: Tensor, weight_codes: Tensor) -> Tensor:
    return (codes.long() - zero_point) @ weight_codes.long().T
