"""Integer inference: what a kernel that has no floats does with a layer, and where one goes wrong.

A layer's sums come from integer_matmul (affine.py). They are worth s_x s_w each; the next layer
wants codes worth s_y. The ratio of the two is known beforehand, and becomes an integer and a shift.

    bias             q_b = round(b / (s_x s_w))                     int32, added to the sums
                     s_w >= |b| / (2**31 s_x), or the bias saturates
    multiplier       M = s_x s_w / s_y = M0 2**-31 2**-n            2**30 <= M0 < 2**31
    next codes       q_y = clip(z_y + round(M sums))                a product in int64 and a shift

CPUs without VNNI multiply pairs of uint8 and int8 and add each pair in int16, which saturates:
255 * 127 * 2 = 64770, and int16 ends at 32767. Weights in 7 bits (|q| <= 64) cannot: 32640.

Source    Jacob et al., CVPR 2018, arXiv:1712.05877, section 2.2; gemmlowp, doc/quantization.md;
          onnxruntime.ai/docs/performance/model-optimizations/quantization.html (U8S8 saturation).
Differs   Ties round up, in one rounding; gemmlowp rounds twice, in the product and in the shift.
Left out  Blocked accumulation in int32 with int16 partial sums other than pairs.
Read      affine.py first; static.py puts whole layers together.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reference.quantization.affine import INT32_MAX, Grid, fit_int32, widened

MANTISSA_BITS = 31  # of M0: an int32 without its sign
INT16_MAX = 2**15 - 1


class Multiplier(NamedTuple):
    """M = mantissa 2**-31 2**-shift: what an integer kernel multiplies by, having no floats."""

    mantissa: Int[Tensor, "..."]  # M0, in [2**30, 2**31): fits an int32
    shift: Int[Tensor, "..."]  # n, negative where M is 1 or above


def quantize_bias(
    bias: Float[Tensor, " d_out"], input_scale: Tensor, weight_scale: Tensor
) -> Int[Tensor, " d_out"]:
    """The bias on the grid of the accumulator, s_b = s_x s_w: int32, added before rescaling."""
    codes = widened(bias).double() / (input_scale.double() * weight_scale.double()).reshape(-1)
    return codes.round().clamp(-INT32_MAX, INT32_MAX).to(torch.int32)


def grid_with_room_for_bias(
    weight_grid: Grid, input_scale: Tensor, bias: Float[Tensor, " d_out"] | None
) -> Grid:
    """The weight's grid, steps widened where the bias would need more than an int32.

    A channel whose weights are nearly zero has so fine a step that its bias, in steps s_x s_w, is
    beyond 2**31: saturating would lose the bias, a wider step loses only what is below it.
    """
    if bias is None:
        return weight_grid
    scale = weight_grid.scale
    needed = widened(bias).double().abs() / (INT32_MAX * input_scale.double())
    needed = (needed if scale.numel() > 1 else needed.max()).to(scale.dtype).reshape(scale.shape)
    return weight_grid._replace(scale=torch.maximum(scale, needed))


def multiplier(scale: Float[Tensor, "..."]) -> Multiplier:
    """M = s_x s_w / s_y as an int32 and a shift, to a relative error of 2**-31.

    Raises:
        ValueError: M is not in [2**-30, 2**30), where the shift would leave 64-bit integers.
    """
    if not ((scale >= 2.0**-30) & (scale < 2.0**30)).all():
        raise ValueError(f"multiplier {scale.tolist()} is not in [2**-30, 2**30)")
    fraction, exponent = torch.frexp(scale.double())
    mantissa = (fraction * 2**MANTISSA_BITS).round().long()
    over = mantissa == 2**MANTISSA_BITS  # a fraction that rounds to 1 is 1/2 of the next power
    return Multiplier(torch.where(over, mantissa // 2, mantissa), -exponent.long() - over.long())


def requantize(sums: Int[Tensor, "..."], factor: Multiplier, output: Grid) -> Int[Tensor, "..."]:
    """The next layer's codes from int32 sums, in integer arithmetic. Ties round up."""
    shift = factor.shift + MANTISSA_BITS
    rounded = (sums.long() * factor.mantissa + (1 << (shift - 1))) >> shift
    return (rounded + output.zero_point).clamp(output.qmin, output.qmax).to(torch.int32)


def saturating_matmul(
    a: Int[Tensor, "rows d_in"], weight: Int[Tensor, "d_out d_in"]
) -> Int[Tensor, "rows d_out"]:
    """a @ weight.T as AVX2 computes it: neighbours are added in int16, which saturates.

    Takes rows * d_out * d_in * 8 bytes, to show the fault and not to work with.
    """
    products = a.long().unsqueeze(-2) * weight.long()
    products = torch.nn.functional.pad(products, (0, a.shape[-1] % 2))
    pairs = products.unflatten(-1, (-1, 2)).sum(-1)
    return fit_int32(pairs.clamp(-INT16_MAX - 1, INT16_MAX).sum(-1))
