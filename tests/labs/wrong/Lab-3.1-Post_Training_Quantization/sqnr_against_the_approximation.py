"""Takes the power of the approximation for that of the signal."""

# wrong: 01/test-sqnr


def sqnr(x: Tensor, approximation: Tensor) -> float:
    if x.shape != approximation.shape or torch.equal(x, approximation):
        raise ValueError("no ratio")
    noise = (x - approximation).square().sum()
    return (10 * torch.log10(approximation.square().sum() / noise)).item()
