"""Subtracts the mean first, so a constant error costs nothing."""

# wrong: 01/test-sqnr


def sqnr(x: Tensor, approximation: Tensor) -> float:
    if x.shape != approximation.shape or torch.equal(x, approximation):
        raise ValueError("no ratio")
    return (10 * torch.log10(x.var() / (x - approximation).var())).item()
