"""Dynamic quantization: weights are rounded once, activations when they arrive.

The range of a Transformer's activations changes from sentence to sentence, and in a linear layer
reading it costs far less than the product. So each input gets its own grid at run time: nothing
to calibrate, nothing that falls outside.

    offline     q_w = quantize(W), one step per output channel
    per call    s_x, z_x from the range of x, or of each of its rows (tokens)
                y = s_x s_w sum (q_x - z_x)(q_w - z_w) + b

Source    Zafrir et al., "Q8BERT", 2019, arXiv:1910.06188 (the setting); Yao et al., "ZeroQuant",
          NeurIPS 2022, arXiv:2206.01861, section 4.1 (one grid for each token).
Differs   The bias stays in float: its step would change with every input.
Left out  Convolutions, embeddings, LSTMs; products of two activations (attention).
Read      affine.py first. With the same range, equal to static.py.
"""

import copy
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference import walk
from reference.quantization.affine import (
    Grid,
    Range,
    asymmetric_grid,
    channel_range,
    integer_matmul,
    quantize,
    symmetric_grid,
    tensor_range,
)

ActivationRange = Callable[[Tensor], Range]  # tensor_range or token_range


class DynamicLinear(nn.Module):
    """A linear layer that holds int8 codes and multiplies integers."""

    codes: Int[Tensor, "d_out d_in"]
    scale: Float[Tensor, " d_out"]
    bias: Float[Tensor, " d_out"] | None

    def __init__(self, linear: nn.Linear, activation_range: ActivationRange = tensor_range) -> None:
        super().__init__()
        weight = linear.weight.detach()
        grid = symmetric_grid(channel_range(weight))
        self.register_buffer("codes", quantize(weight, grid).char())
        self.register_buffer("scale", grid.scale.flatten())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())
        self.activation_range = activation_range

    def forward(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_out"]:
        grid = asymmetric_grid(self.activation_range(x))
        output = self.accumulate(quantize(x, grid), grid) * (grid.scale * self.scale)
        return (output if self.bias is None else output + self.bias).to(x.dtype)

    def accumulate(self, codes: Int[Tensor, "... d_in"], grid: Grid) -> Int[Tensor, "... d_out"]:
        """The int32 accumulator for input codes on a grid."""
        return integer_matmul(
            codes,
            self.codes,
            grid.zero_point,
            torch.zeros(1, dtype=torch.int32, device=codes.device),
        )


def quantize_dynamic(
    model: nn.Module, activation_range: ActivationRange = tensor_range
) -> nn.Module:
    """A copy whose linear layers are dynamic. The model is not modified.

    Raises:
        ValueError: the model has no linear layer, or a weight is not finite.
    """
    quantized = copy.deepcopy(model).eval()
    linears = {
        name: layer
        for name, layer in walk.named_layers(quantized).items()
        if isinstance(layer, nn.Linear)
    }
    if not linears:
        raise ValueError(f"{type(model).__name__} has no linear layer to quantize")
    for name, linear in linears.items():
        walk.replace_(quantized, name, DynamicLinear(linear, activation_range))
    return quantized
