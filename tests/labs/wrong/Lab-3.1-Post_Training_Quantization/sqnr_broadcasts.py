"""Compares tensors of different shapes, where the contract asks for an error."""

# wrong: 01/test-sqnr


def sqnr(x: Tensor, approximation: Tensor) -> float:
    noise = (x.double() - approximation.double()).square().sum()
    if noise == 0:
        raise ValueError("the approximation is exact")
    return (10 * torch.log10(x.double().square().sum() / noise)).item()
