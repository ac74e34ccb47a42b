"""The straight-through estimator: round on the way forward, pretend not to have on the way back.

Rounding has slope 0 almost everywhere, so no gradient passes it. The estimator gives the backward
pass the slope of a smooth stand-in (the surrogate) instead; it is not the derivative of anything
that was computed, and a finite difference of the forward pass does not find it.

    identity   dL/dx = dL/dq                                     surrogate: x
    clipped    dL/dx = dL/dq 1[qmin <= x / s + z <= qmax]        surrogate: clip(x, low, high)
    sign       dL/dx = dL/dq 1[|x| <= 1]                         surrogate: clip(x, -1, 1)

The clipped one stops pushing a value that is already beyond the grid, where nothing it does would
show in the output. The mask looks at x / s + z before rounding, as its surrogate does.

Source    Bengio, Leonard and Courville, "Estimating or Propagating Gradients Through Stochastic
          Neurons", 2013, arXiv:1308.3432; Hubara et al., "Binarized Neural Networks", NeurIPS
          2016, arXiv:1602.02830, equation 4 (the clipped sign).
Differs   torch's fake quantization masks by the rounded code: up to half a step further out.
Left out  Estimators with another slope (tanh, EWGS).
Read      affine.py first. Used by pact.py, dorefa.py, observers.py, bwn.py, bitnet.py, qat.py.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reference.quantization.affine import Grid, fake_quantize


def straight_through(
    x: Float[Tensor, "*shape"], replacement: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """The replacement, to the last bit; its gradient goes to x as it is, and nowhere else."""
    return _StraightThrough.apply(x, replacement.detach())


def identity_ste(x: Float[Tensor, "*shape"], grid: Grid) -> Float[Tensor, "*shape"]:
    """The nearest grid values; every value of x gets the gradient, clipped or not.

    Raises:
        ValueError: x contains inf or nan, or nothing.
    """
    return straight_through(x, fake_quantize(x.detach(), grid))


def clipped_ste(x: Float[Tensor, "*shape"], grid: Grid) -> Float[Tensor, "*shape"]:
    """The nearest grid values; values of x beyond the grid's ends get no gradient.

    Raises:
        ValueError: x contains inf or nan, or nothing.
    """
    position = x.detach() / grid.scale + grid.zero_point
    # the end of an observed range, divided by the step, may round to just beyond the last code
    slack = 4 * torch.finfo(position.dtype).eps * max(abs(grid.qmin), abs(grid.qmax))
    inside = (position >= grid.qmin - slack) & (position <= grid.qmax + slack)
    return _Masked.apply(x, fake_quantize(x.detach(), grid), inside)


def sign_ste(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """+1 or -1, and +1 for zero: one bit has no third value."""
    return _Masked.apply(x, signs(x.detach()), x.detach().abs() <= 1)


def signs(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The same without a gradient."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, replacement: Tensor) -> Tensor:
        return replacement.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class _Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, replacement: Tensor, inside: Tensor) -> Tensor:
        ctx.save_for_backward(inside)
        return replacement.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None
