"""Bias correction: rounding weights moves the mean of each output, and a bias can move it back.

Rounding errors of one channel's weights do not average to zero against inputs that are all
positive (after a ReLU). The shift is the same for every sample, so it is worth one number.

    y = W x + b        y~ = W~ x + b~        b~ <- b~ + E[y] - E[y~] = b~ + (W - W~) E[x]

Layers are corrected in order, each with the corrected ones before it, since a shift in one layer
changes what the next one sees.

Without data, E[x] follows from the batch norm before the ReLU, if its output is Gaussian with mean
beta and deviation |gamma|:

    E[relu(v)] = |gamma| phi(beta / |gamma|) + beta Phi(beta / |gamma|)

Source    Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
          ICCV 2019, arXiv:1906.04721, section 4.2 and appendix D.
Differs   The corrected bias stays in float; rounded to s_x s_w it moves by at most half of that.
Left out  Analytic correction of whole models: which norm feeds which layer is the caller's to say.
Read      static.py first.
"""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference import walk


def mean_shift(
    outputs: Float[Tensor, "samples channels"], quantized: Float[Tensor, "samples channels"]
) -> Float[Tensor, " channels"]:
    """What to add to the quantized layer's bias: E[y] - E[y~]."""
    return outputs.mean(0) - quantized.mean(0)


def correct_linear(
    weight: Float[Tensor, "d_out d_in"],
    rounded: Float[Tensor, "d_out d_in"],
    bias: Float[Tensor, " d_out"],
    inputs: Float[Tensor, "samples d_in"],
) -> Float[Tensor, " d_out"]:
    """The bias that gives the rounded weight the mean output of the weight: b + (W - W~) E[x]."""
    return bias + mean_shift(inputs @ weight.T, inputs @ rounded.T)


def correct_analytic(
    weight: Float[Tensor, "d_out d_in ..."],
    rounded: Float[Tensor, "d_out d_in ..."],
    bias: Float[Tensor, " d_out"],
    input_mean: Float[Tensor, " d_in"],
) -> Float[Tensor, " d_out"]:
    """b + (W - W~) E[x], from the mean of each input channel alone.

    Exact for linear layers; a convolution that pads sees fewer inputs at its borders.
    """
    error = (weight - rounded).flatten(2).sum(2) if weight.ndim > 2 else weight - rounded
    return bias + error @ input_mean


def relu_mean(
    mean: Float[Tensor, " channels"], deviation: Float[Tensor, " channels"]
) -> Float[Tensor, " channels"]:
    """E[relu(v)] of a Gaussian v: batch norm's beta and gamma, whose sign does not matter."""
    spread = deviation.abs()
    ratio = mean / spread.clamp(min=torch.finfo(spread.dtype).tiny)
    density = torch.exp(-(ratio**2) / 2) / (2 * torch.pi) ** 0.5
    return spread * density + mean * torch.special.ndtr(ratio)


def correct_model(
    model: nn.Module, quantized: nn.Module, batches: Sequence[Float[Tensor, "_ ..."]]
) -> nn.Module:
    """A copy of `quantized` whose layers have the mean outputs of the same layers in `model`.

    Args:
        model: batch norm folded, so that its layers match.
        quantized: from quantize_static; runs the batches once for each layer.

    Raises:
        ValueError: the two models do not have the same number of layers.
    """
    corrected = copy.deepcopy(quantized)
    originals, layers = walk.named_layers(model), walk.named_layers(corrected)
    if len(originals) != len(layers):
        raise ValueError(f"the model has {len(originals)} layers, the quantized {len(layers)}")
    targets = walk.output_means(model, originals, batches)
    for (name, layer), target in zip(layers.items(), targets.values(), strict=True):
        shift = target - walk.output_means(corrected, [name], batches)[name]
        bias = shift if layer.bias is None else layer.bias.detach() + shift
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return corrected
