"""BitNet b1.58: linear layers of a language model, ternary from the first step of training.

    weights        T = clip(round(w / g), -1, 1)          g = mean |w| of the layer
    activations    q = round(127 x / a)                   a = max |x| of the token
    layer          y = g a / 127 sum q T                  x normalised first (RMS, without a gain)

A product with T is an addition, a subtraction or nothing. g is not the least-squares magnitude and
g / 2 not the best threshold (twn.py has both); it is one pass without a search, at every step.

Source    Ma et al., "The Era of 1-bit LLMs: All Large Language Models are in 1.58 Bits", 2024,
          arXiv:2402.17764, section 2, and its companion of training tips and code
          (github.com/microsoft/unilm, bitnet), which normalises inside the layer.
Differs   Activation codes stop at -127, not at -128, which no token reaches.
Left out  Kernels; the gain of the norm; embeddings and the head, which stay in
          float as in the paper.
Read      affine.py, ste.py first; ternary_packing.py for the bytes.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference.quantization.affine import (
    Grid,
    integer_matmul,
    quantize,
    symmetric_grid,
    token_range,
    widened,
)
from reference.quantization.ste import identity_ste

EPSILON = 1e-5  # the authors' floor of g, and what is added to a token's mean square


def ternary_grid(weight: Float[Tensor, "..."]) -> Grid:
    """-g, 0, g for the whole layer.

    Raises:
        ValueError: a weight is inf or nan, or there is none.
    """
    scale = widened(weight.detach()).abs().mean().clamp(min=EPSILON)
    return Grid(scale, torch.zeros_like(scale, dtype=torch.int32), -1, 1)


def token_grid(x: Float[Tensor, "... features"]) -> Grid:
    """Int8, one step for each token: (2, 7, 64) gives steps (2, 7, 1)."""
    return symmetric_grid(token_range(x.detach()), bits=8)


def bit_linear(
    x: Float[Tensor, "... d_in"], weight: Float[Tensor, "d_out d_in"]
) -> Float[Tensor, "... d_out"]:
    """The layer in floats, for training; gradients pass both roundings as they are."""
    x = F.rms_norm(x, x.shape[-1:], eps=EPSILON)
    return F.linear(identity_ste(x, token_grid(x)), identity_ste(weight, ternary_grid(weight)))


def integer_bit_linear(
    x: Float[Tensor, "... d_in"], codes: Int[Tensor, "d_out d_in"], scale: Float[Tensor, ""]
) -> Float[Tensor, "... d_out"]:
    """The same from ternary codes and g, by integer sums: what a kernel computes."""
    x = F.rms_norm(x, x.shape[-1:], eps=EPSILON)
    grid = token_grid(x)
    zero = torch.zeros(1, dtype=torch.int32, device=x.device)
    sums = integer_matmul(quantize(x, grid), codes, zero, zero)
    return (sums * (grid.scale * scale)).to(x.dtype)


class BitLinear(nn.Module):
    """A linear layer without bias, in place of nn.Linear."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Linear(d_in, d_out, bias=False).weight.detach())

    def forward(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_out"]:
        return bit_linear(x, self.weight)
