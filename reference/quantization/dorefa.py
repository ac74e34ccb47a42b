"""DoReFa: weights, activations and gradients, each squeezed into [0, 1] and rounded there.

    quantize_k(r)   = round((2**k - 1) r) / (2**k - 1)                    0 <= r <= 1
    weights, k > 1    2 quantize_k(tanh(w) / (2 max |tanh(w)|) + 1/2) - 1
    weights, k = 1    E|w| sign(w)
    activations       quantize_k(clip(x, 0, 1))
    gradients         2 m (quantize_k(g / 2m + 1/2 + noise) - 1/2)        m = max |g| of a sample,
                      noise uniform in [-1/2, 1/2] / (2**k - 1)

tanh keeps one large weight from spreading the grid over values nobody has. The noise makes the
quantized gradient right on average; rounded to nearest, small gradients would all become zero.

Source    Zhou et al., "DoReFa-Net", 2016, arXiv:1606.06160, sections 2.2-2.5.
Differs   None in the equations. Weights of k bits have 2**k values and no zero among them.
Left out  The bit convolution kernels of section 2.1 (xnor.py shows the one of 1 bit).
Read      affine.py, ste.py first.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reference.quantization.affine import Grid, fake_quantize, widened
from reference.quantization.ste import identity_ste, signs, straight_through


def unit_grid(bits: int) -> Grid:
    """2**bits values from 0 to 1, both on the grid. Scale is a scalar."""
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must be from 1 to 8, got {bits}")
    top = 2**bits - 1
    scale = torch.tensor(1 / top, dtype=torch.float64)  # so that float64 inputs reach 1 exactly
    return Grid(scale, torch.tensor(0, dtype=torch.int32), 0, top)


def dorefa_weight(weight: Float[Tensor, "*shape"], bits: int) -> Float[Tensor, "*shape"]:
    """Weights in [-1, 1] on 2**bits values; with 1 bit, plus or minus the mean magnitude.

    The gradient is that of tanh(w) / max |tanh(w)|, or with 1 bit the output's own.

    Raises:
        ValueError: bits are not from 1 to 8, all weights are zero, or one is inf or nan.
    """
    grid = unit_grid(bits)
    if bits == 1:
        values = widened(weight.detach())
        return straight_through(weight, (values.abs().mean() * signs(values)).to(weight.dtype))
    squeezed = weight.tanh()
    largest = squeezed.abs().max()
    if largest == 0:
        raise ValueError(
            f"all of {weight.numel()} weights are zero; there is no scale to divide by"
        )
    return 2 * identity_ste(squeezed / (2 * largest) + 0.5, grid) - 1


def dorefa_activation(x: Float[Tensor, "*shape"], bits: int) -> Float[Tensor, "*shape"]:
    """Activations clipped to [0, 1]; what is clipped gets no gradient."""
    return identity_ste(x.clamp(0, 1), unit_grid(bits))


def dorefa_gradient(
    x: Float[Tensor, "batch ..."], bits: int, generator: torch.Generator | None = None
) -> Float[Tensor, "batch ..."]:
    """x itself; on the way back its gradient is rounded at random, to a grid for each sample."""
    return _QuantizedGradient.apply(x, bits, generator)


def quantize_gradient(
    gradient: Float[Tensor, "batch ..."], bits: int, generator: torch.Generator | None = None
) -> Float[Tensor, "batch ..."]:
    """On average over the noise the gradient itself, except at its largest values."""
    grid = unit_grid(bits)
    largest = gradient.abs().flatten(1).amax(1).reshape(-1, *[1] * (gradient.ndim - 1))
    divisor = torch.where(largest == 0, 1.0, largest)
    noise = torch.rand(gradient.shape, generator=generator, device=gradient.device) - 0.5
    position = gradient / (2 * divisor) + 0.5 + noise.to(gradient.dtype) * grid.scale
    return (2 * largest * (fake_quantize(position, grid) - 0.5)).to(gradient.dtype)


class _QuantizedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bits: int, generator: torch.Generator | None) -> Tensor:
        ctx.bits, ctx.generator = bits, generator
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return quantize_gradient(gradients[0], ctx.bits, ctx.generator), None, None
