"""LSQ: the step itself is a parameter, and every value says which way it would like it.

A value inside the grid knows how far rounding moved it; a clipped one, how fast its end moves when
the step does. Both are slopes of q s in s with rounding passed straight through.

    q = round(clip(x / s, qmin, qmax))            output q s
    dq/ds = round(x / s) - x / s                  qmin < x / s < qmax
          = qmin or qmax                          beyond
    dq/dx = 1[qmin < x / s < qmax]
    gradient of s times g = 1 / sqrt(N qmax)      N values share the step
    start    s = 2 E|x| / sqrt(qmax)

g makes the relative update of s as large as that of the weights it serves. The gradient is not the
derivative of the rounding error: at the step with the least squared error it is not zero.

Source    Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv:1902.08153, sections
          2.1-2.2 and appendix A.
Differs   Also one step for each output channel of a weight; N counts the values of one step, for
          activations of one sample. Signed activations get the weights' grid.
Left out  LSQ+'s learned offset.
Read      affine.py, ste.py first. Used by qat.py.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.quantization.affine import Grid, dequantize, quantize
from reference.quantization.calibration import joined, min_max


def lsq(
    x: Float[Tensor, "*shape"], step: Float[Tensor, "..."], ends: tuple[int, int], gain: float
) -> Float[Tensor, "*shape"]:
    """The nearest grid values, with gradients for x and for the step.

    Args:
        step: broadcasts to x; each value of it serves the values of x it is broadcast to.
        ends: qmin and qmax.
        gain: what the gradient of the step is multiplied by; see gradient_gain.

    Raises:
        ValueError: a step is not above zero, or x contains inf or nan.
    """
    return _Lsq.apply(x, step, *ends, gain)


def gradient_gain(values_per_step: int, qmax: int) -> float:
    """g = 1 / sqrt(N qmax)."""
    return 1 / math.sqrt(values_per_step * qmax)


def initial_step(magnitude: Float[Tensor, "..."], qmax: int) -> Float[Tensor, "..."]:
    """s from E|x|. Values that are all zero get step 1, which holds them exactly."""
    return torch.where(magnitude == 0, 1.0, 2 * magnitude / math.sqrt(qmax))


class LsqQuantizer(nn.Module):
    """lsq() with its step."""

    def __init__(
        self, step: Float[Tensor, "..."], ends: tuple[int, int], values_per_step: int
    ) -> None:
        super().__init__()
        self.step = nn.Parameter(step.detach().clone())
        self.ends = ends
        self.gain = gradient_gain(values_per_step, ends[1])

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return lsq(x, self.step, self.ends, self.gain)

    def grid(self) -> Grid:
        return _grid(self.step.detach().clone(), *self.ends)

    def freeze_(self, frozen: bool) -> None:
        self.step.requires_grad_(not frozen)
        if frozen:
            self.step.grad = None  # an optimizer moves whatever still has one


def lsq_weight(weight: Float[Tensor, "d_out ..."], bits: int) -> LsqQuantizer:
    """A quantizer with one step for each output channel: (8, 3, 5, 5) has steps (8, 1, 1, 1).

    Raises:
        ValueError: bits are not from 2 to 8.
    """
    ends = signed_ends(bits)
    others = list(range(1, weight.ndim))
    magnitude = weight.detach().abs().mean(others, keepdim=True)
    return LsqQuantizer(initial_step(magnitude, ends[1]), ends, weight[0].numel())


def lsq_activation(batches: Sequence[Float[Tensor, "_ ..."]], bits: int) -> LsqQuantizer:
    """A quantizer with one step; unsigned where no value of these batches is below zero.

    Raises:
        ValueError: bits are not from 2 to 8, no batches, or values that are not finite.
    """
    ends = signed_ends(bits)
    if min_max(batches).low >= 0:
        ends = (0, 2**bits - 1)
    step = initial_step(joined(batches).abs().mean(), ends[1])
    return LsqQuantizer(step.to(batches[0].dtype), ends, batches[0][0].numel())


def signed_ends(bits: int) -> tuple[int, int]:
    """-2**(bits - 1) and 2**(bits - 1) - 1: every code is used."""
    if not 2 <= bits <= 8:
        raise ValueError(f"bits must be from 2 to 8, got {bits}")
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _grid(step: Tensor, qmin: int, qmax: int) -> Grid:
    if not (step > 0).all():
        raise ValueError(
            f"a step is {step.min():g}; steps lie above zero: lower their learning rate"
        )
    return Grid(step, torch.zeros_like(step, dtype=torch.int32), qmin, qmax)


class _Lsq(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, qmin: int, qmax: int, gain: float) -> Tensor:
        grid = _grid(step, qmin, qmax)
        codes = quantize(x, grid)
        ctx.save_for_backward(x, step, codes)
        ctx.qmin, ctx.qmax, ctx.gain = qmin, qmax, gain
        return dequantize(codes, grid).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        x, step, codes = ctx.saved_tensors
        position = x / step
        inside = (position > ctx.qmin) & (position < ctx.qmax)
        slope = torch.where(inside, codes - position, codes.to(position.dtype))
        step_gradient = (gradients[0] * slope).sum_to_size(step.shape) * ctx.gain
        return gradients[0] * inside, step_gradient.to(step.dtype), None, None, None
