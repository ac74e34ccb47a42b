"""Forgets .item(): answers a tensor where a float is asked."""

# wrong: 01/test-sqnr


def sqnr(x: Tensor, approximation: Tensor) -> Tensor:
    if x.shape != approximation.shape or torch.equal(x, approximation):
        raise ValueError("no ratio")
    noise = (x.double() - approximation.double()).square().sum()
    return 10 * torch.log10(x.double().square().sum() / noise)
