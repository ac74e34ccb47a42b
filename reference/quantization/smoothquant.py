"""SmoothQuant: hand the outliers of activations over to the weights, which can bear them.

A few channels of a language model's activations are a hundred times larger than the rest, the same
ones for every token. One step for the whole tensor then leaves the rest no codes. Dividing those
channels by s and multiplying the weight's columns by s changes nothing in floats.

    y = (x / s)(W s)'           s_j = max|x_j|^a / max|W_j|^(1 - a)
    a = 1/2                     max|x_j / s_j| = max|W_j s_j|: both are equally hard
    a = 0, a = 1                all is left to the activations, or to the weights

Source    Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
          Language Models", ICML 2023, arXiv:2211.10438, section 4.
Differs   a is searched by the error of the output, with s = 1 among what is tried: a = 0 is often
          worse than nothing.
Left out  A different a for each layer of a block chosen jointly; GELU and ReLU networks, where s
          would have to pass an activation (scaling.py says through what it passes).
Read      affine.py, statistics.py. scaling.py folds s into a norm; dynamic.py and static.py run
          the integers.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from reference.quantization.affine import (
    asymmetric_grid,
    channel_range,
    fake_quantize,
    symmetric_grid,
    tensor_range,
)
from reference.quantization.dynamic import ActivationRange
from reference.statistics import InputStatistics, matching

ALPHAS = tuple(step / 20 for step in range(21))


class Smoothing(NamedTuple):
    scale: Float[Tensor, " d_in"]  # s
    alpha: float | None  # None: s = 1 was best
    error: float  # mean squared output error in 8 bits
    plain_error: float  # the same without smoothing


def smooth_scale(
    inputs: InputStatistics, weights: Sequence[Float[Tensor, "_ d_in"]], alpha: float = 0.5
) -> Float[Tensor, " d_in"]:
    """s, for linear layers that share their inputs. Channels that are zero on one side keep 1.

    Raises:
        ValueError: alpha outside [0, 1], no weight, or one that does not read these inputs.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    if not weights:
        raise ValueError("there is no weight to smooth")
    rows = torch.cat([matching(weight, inputs) for weight in weights])
    largest = rows.abs().amax(0)
    scale = inputs.max_abs**alpha / largest ** (1 - alpha)
    usable = (inputs.max_abs > 0) & (largest > 0) & torch.isfinite(scale) & (scale > 0)
    return torch.where(usable, scale, 1.0)


def search_alpha(
    x: Float[Tensor, "tokens d_in"],
    inputs: InputStatistics,
    weights: Sequence[Float[Tensor, "_ d_in"]],
    activation_range: ActivationRange = tensor_range,
    alphas: Sequence[float] = ALPHAS,
) -> Smoothing:
    """The a that loses least on `x` with weights and activations in 8 bits.

    Args:
        x: some tokens; `inputs` may come from many more.
        activation_range: tensor_range for one step, token_range for one per token.

    Raises:
        ValueError: as `smooth_scale`.
    """
    loss = partial(_loss, x, weights, activation_range)
    best = Smoothing(torch.ones_like(inputs.max_abs), None, plain := loss(None), plain)
    for alpha in alphas:
        scale = smooth_scale(inputs, weights, alpha)
        error = loss(scale)
        if error < best.error:
            best = Smoothing(scale, alpha, error, plain)
    return best


def w8a8(
    x: Float[Tensor, "... d_in"],
    weight: Float[Tensor, "d_out d_in"],
    activation_range: ActivationRange = tensor_range,
    scale: Float[Tensor, " d_in"] | None = None,
) -> Float[Tensor, "... d_out"]:
    """x W' as 8-bit kernels compute it: the weight has a step per output, x / s as its range says.

    The same numbers as DynamicLinear's, which multiplies integers.
    """
    if scale is not None:
        x, weight = x / scale, weight * scale
    rounded = fake_quantize(weight, symmetric_grid(channel_range(weight)))
    return F.linear(fake_quantize(x, asymmetric_grid(activation_range(x))), rounded)


def _loss(
    x: Tensor,
    weights: Sequence[Tensor],
    activation_range: ActivationRange,
    scale: Tensor | None,
) -> float:
    errors = [
        (w8a8(x, weight, activation_range, scale) - F.linear(x, weight)).square().flatten()
        for weight in weights
    ]
    return torch.cat(errors).mean().item()
