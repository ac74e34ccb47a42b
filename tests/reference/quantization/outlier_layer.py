"""A layer as language models have them: correlated inputs, a few of them very large."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from reference.quantization.statistics import InputStatistics, input_statistics


class OutlierLayer(NamedTuple):
    weight: Float[Tensor, "d_out d_in"]
    inputs: Float[Tensor, "tokens d_in"]
    held_out: Float[Tensor, "tokens d_in"]

    @property
    def statistics(self) -> InputStatistics:
        return input_statistics([self.inputs])

    def relative_error(self, rounded: Tensor) -> float:
        """Squared output error on the tokens held out, as a share of the output."""
        exact = self.held_out @ self.weight.T
        return ((self.held_out @ rounded.T - exact).square().sum() / exact.square().sum()).item()


def outlier_layer(
    seed: int, d_out: int = 128, d_in: int = 256, tokens: int = 1024, rank: int = 48
) -> OutlierLayer:
    """Inputs of rank 48 plus noise, four channels of them twenty times as large, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    mixing = normal(rank, d_in) / rank**0.5
    x = normal(2 * tokens, rank) @ mixing + 0.1 * normal(2 * tokens, d_in)
    x[:, torch.randperm(d_in, generator=generator)[:4]] *= 20
    return OutlierLayer(normal(d_out, d_in) / d_in**0.5, *x.split(tokens))
