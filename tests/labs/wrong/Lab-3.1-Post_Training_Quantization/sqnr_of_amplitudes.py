"""Divides sums of sizes and not of squares."""

# wrong: 01/test-sqnr


def sqnr(x: Tensor, approximation: Tensor) -> float:
    if x.shape != approximation.shape or torch.equal(x, approximation):
        raise ValueError("no ratio")
    return (20 * torch.log10(x.abs().sum() / (x - approximation).abs().sum())).item()
