"""Static post-training quantization: every grid is fixed beforehand, from calibration batches.

Fold batch norm, run a few hundred samples, give each layer's input one grid and each output
channel of its weight another. At run time nothing is measured: a layer is integers in, integers
out, and one multiplier per channel.

    y = s_x s_w (sum (q_x - z_x) q_w + q_b)      q_b = round(b / (s_x s_w))

`simulate` computes this in floats (fake quantization: what accuracy is measured on), and
`execute` in integers. They agree to the last bit of the int32 accumulator. `next_codes` goes on to
the next layer's input without any float; there a tie may fall to the other side, one code away.

Source    Jacob et al., CVPR 2018, arXiv:1712.05877, section 2.4; Krishnamoorthi 2018,
          arXiv:1806.08342 (symmetric weights per channel, asymmetric activations).
Differs   Grids belong to the inputs of layers, not to their outputs: a tensor that two layers
          read is calibrated once for each, with the same result.
Left out  Additions and pooling stay in float here; onnx_qdq.py quantizes the additions too.
Read      affine.py, calibration.py, batch_norm.py first.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference import walk
from reference.quantization.affine import (
    Grid,
    Range,
    asymmetric_grid,
    channel_range,
    dequantize,
    fake_quantize,
    fit_int32,
    integer_matmul,
    quantize,
    symmetric_grid,
)
from reference.quantization.batch_norm import fold_model
from reference.quantization.calibration import Calibrator, min_max
from reference.quantization.integer import (
    grid_with_room_for_bias,
    multiplier,
    quantize_bias,
    requantize,
)


@dataclass(frozen=True)
class StaticConfig:
    calibrate: Calibrator = min_max
    activation_grid: Callable[[Range], Grid] = asymmetric_grid  # uint8
    weight_grid: Callable[[Range], Grid] = symmetric_grid  # int8; the kernels want zero point 0


class QuantizedLayer(NamedTuple):
    """All that an integer kernel needs for one layer."""

    input_grid: Grid  # one step for the tensor
    weight_grid: Grid  # one step for each output channel
    weight: Int[Tensor, "d_out ..."]  # codes
    bias: Int[Tensor, " d_out"] | None  # codes, with step s_x s_w


class StaticResult(NamedTuple):
    model: nn.Module  # batch norm folded, its layers simulated
    layers: dict[str, QuantizedLayer]


class SimulatedLayer(nn.Module):
    """A layer whose input is rounded to its grid; its weight and bias already lie on theirs."""

    def __init__(self, layer: walk.Layer, input_grid: Grid) -> None:
        super().__init__()
        self.layer = layer
        self.grid = input_grid

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self.layer(fake_quantize(x, self.grid))


def quantize_static(
    model: nn.Module,
    batches: Sequence[Float[Tensor, "_ ..."]],
    config: StaticConfig = StaticConfig(),
) -> StaticResult:
    """Quantize every Conv2d and Linear. The model is not modified.

    Raises:
        ValueError: no batches, a layer that no batch reaches, or values that are not finite.
    """
    folded = fold_model(model)
    floats = walk.named_layers(folded)
    inputs = walk.layer_inputs(folded, floats, batches)
    layers = {
        name: quantize_layer(layer, config.activation_grid(config.calibrate(inputs[name])), config)
        for name, layer in floats.items()
    }
    for name, layer in floats.items():
        walk.replace_(folded, name, simulate(layer, layers[name]))
    return StaticResult(folded, layers)


def quantize_layer(
    layer: walk.Layer, input_grid: Grid, config: StaticConfig = StaticConfig()
) -> QuantizedLayer:
    """The codes of one layer's weight and bias, given the grid of its input."""
    weight = layer.weight.detach()
    weight_grid = config.weight_grid(channel_range(weight))
    bias = None
    if layer.bias is not None:
        weight_grid = grid_with_room_for_bias(weight_grid, input_grid.scale, layer.bias.detach())
        bias = quantize_bias(layer.bias.detach(), input_grid.scale, weight_grid.scale)
    return QuantizedLayer(input_grid, weight_grid, quantize(weight, weight_grid), bias)


def simulate(layer: walk.Layer, quantized: QuantizedLayer) -> SimulatedLayer:
    """The layer in floats, every number that an integer kernel would see on its grid."""
    rounded = copy.deepcopy(layer)
    dtype = layer.weight.dtype
    weight = dequantize(quantized.weight, quantized.weight_grid).to(dtype)
    rounded.weight = nn.Parameter(weight, requires_grad=False)
    if quantized.bias is not None:
        bias = quantized.bias * accumulator_scale(quantized)
        rounded.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
    return SimulatedLayer(rounded, quantized.input_grid)


def execute(
    layer: walk.Layer, quantized: QuantizedLayer, x: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """The layer in integers: quantize the input, accumulate in int32, rescale once."""
    sums = accumulate(layer, quantized, quantize(x, quantized.input_grid))
    scale = accumulator_scale(quantized)
    return sums * (scale if isinstance(layer, nn.Linear) else scale.reshape(-1, 1, 1))


def next_codes(
    layer: walk.Layer, quantized: QuantizedLayer, codes: Int[Tensor, "..."], output: Grid
) -> Int[Tensor, "..."]:
    """Codes in, codes out: what the next layer reads, by one integer multiplier per channel.

    A ReLU between the two layers is `output` itself, where its lowest code stands for 0.
    """
    ratio = accumulator_scale(quantized).double() / output.scale.double()
    ratio = ratio if isinstance(layer, nn.Linear) else ratio.reshape(-1, 1, 1)
    return requantize(accumulate(layer, quantized, codes), multiplier(ratio), output)


def accumulate(
    layer: walk.Layer, quantized: QuantizedLayer, codes: Int[Tensor, "..."]
) -> Int[Tensor, "..."]:
    """The int32 accumulator, bias included, for input codes. `layer` gives only the geometry."""
    if isinstance(layer, nn.Linear):
        grids = (quantized.input_grid.zero_point, quantized.weight_grid.zero_point)
        sums = integer_matmul(codes, quantized.weight, *grids)
        return sums if quantized.bias is None else fit_int32(sums.long() + quantized.bias)
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        raise ValueError(
            f"padding {layer.padding!r}, {layer.padding_mode!r}: need zeros, in pixels"
        )
    # torch has no integer convolution; in float64 every integer below 2**53 is exact
    sums = F.conv2d(
        (codes - quantized.input_grid.zero_point).double(),  # so that padding with 0 means zero
        (quantized.weight - quantized.weight_grid.zero_point).double(),
        None if quantized.bias is None else quantized.bias.double(),
        layer.stride, layer.padding, layer.dilation, layer.groups,
    )  # fmt: skip
    return fit_int32(sums.long())


def accumulator_scale(quantized: QuantizedLayer) -> Float[Tensor, " d_out"]:
    """s_x s_w: what one unit of the accumulator is worth, per output channel."""
    return (quantized.input_grid.scale * quantized.weight_grid.scale).reshape(-1)
