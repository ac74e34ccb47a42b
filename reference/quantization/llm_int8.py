"""LLM.int8(): the few outlier inputs in floats, all others in 8 bits.

Above some size, language models have a handful of hidden dimensions with values beyond 6 where all
others stay near 1. They hold less than 1 % of the inputs, and nearly all of the error of an 8-bit
product. So the product is taken in two parts.

    O = {j : max|x_j| >= threshold}                              threshold = 6
    y = sum over O of x_j W_j  +  s_x s_w sum over the others of q_x q_w + b

Both steps of the second part are per vector: s_x per token, s_w per output.

Source    Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale",
          NeurIPS 2022, arXiv:2208.07339, sections 2 and 3.
Differs   `decomposed_product` finds O in the input at hand, as the paper; the layer keeps what
          calibration found, so that the weight of all others is stored in 8 bits alone.
Left out  Kernels; recovering the float weight of new outliers from 8 bits (bitsandbytes).
Read      affine.py and dynamic.py first.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from reference.quantization.affine import (
    Grid,
    channel_range,
    exact_matmul,
    quantize,
    symmetric_grid,
    token_range,
    widened,
)
from reference.statistics import InputStatistics, matching

THRESHOLD = 6.0


def outliers(x: Float[Tensor, "... d_in"], threshold: float = THRESHOLD) -> Bool[Tensor, " d_in"]:
    """Which inputs reach the threshold anywhere. 0 is all of them, inf none.

    Raises:
        ValueError: the threshold is negative or nan, or x is not finite.
    """
    return _reached(widened(x).abs().flatten(0, -2).amax(0), threshold)


def decomposed_product(
    x: Float[Tensor, "... d_in"],
    weight: Float[Tensor, "d_out d_in"],
    threshold: float = THRESHOLD,
) -> Float[Tensor, "... d_out"]:
    """x W' with the outliers of x in floats; errors as in `outliers`."""
    apart = outliers(x, threshold)
    if apart.all():
        return F.linear(x, weight)
    grid = symmetric_grid(channel_range(weight[:, ~apart]))
    rest = _integer_part(x[..., ~apart], quantize(weight[:, ~apart], grid), grid.scale.flatten())
    if not apart.any():
        return rest
    return F.linear(x[..., apart], weight[:, apart]) + rest


class LlmInt8Linear(nn.Module):
    """A linear layer whose outlier inputs are known: their weights in floats, the rest int8."""

    outlier_weight: Float[Tensor, "d_out outliers"]
    codes: Int[Tensor, "d_out others"]
    scale: Float[Tensor, " d_out"]
    apart: Bool[Tensor, " d_in"]
    bias: Float[Tensor, " d_out"] | None

    def __init__(
        self, linear: nn.Linear, inputs: InputStatistics, threshold: float = THRESHOLD
    ) -> None:
        super().__init__()
        matching(linear.weight.detach(), inputs)
        weight = linear.weight.detach()
        apart = _reached(inputs.max_abs, threshold)
        self.register_buffer("apart", apart)
        self.register_buffer("outlier_weight", weight[:, apart].clone())
        grid = _grid_of(weight[:, ~apart])
        codes = weight.new_empty(len(weight), 0, dtype=torch.int8)
        if not apart.all():
            codes = quantize(weight[:, ~apart], grid).char()
        self.register_buffer("codes", codes)
        self.register_buffer("scale", grid.scale.flatten())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_out"]:
        output = F.linear(x[..., self.apart], self.outlier_weight, self.bias)
        if self.codes.numel():
            output = output + _integer_part(x[..., ~self.apart], self.codes, self.scale)
        return output


def _grid_of(weight: Float[Tensor, "d_out others"]) -> Grid:
    if weight.shape[1] == 0:  # every input is an outlier
        weight = weight.new_zeros(len(weight), 1)
    return symmetric_grid(channel_range(weight))


def _integer_part(
    x: Float[Tensor, "... others"],
    codes: Int[Tensor, "d_out others"],
    scale: Float[Tensor, " d_out"],
) -> Float[Tensor, "... d_out"]:
    grid = symmetric_grid(token_range(x))
    return (exact_matmul(quantize(x, grid), codes) * (grid.scale * scale)).to(x.dtype)


def _reached(largest: Float[Tensor, " d_in"], threshold: float) -> Bool[Tensor, " d_in"]:
    if not threshold >= 0:
        raise ValueError(f"threshold must be at least 0, got {threshold}")
    return largest >= threshold
