"""Affine quantization: a grid of evenly spaced values, and the only rounding in the course.

A grid is a step s, an integer z that stands for zero, and the codes it may use. Choosing the
grid is the art (calibration.py, awq.py, ...); putting a number on it is always the same.

    Q(x) = s (q - z)          q = clip(round(x / s) + z, qmin, qmax)
    asymmetric                s = (high - low) / (qmax - qmin)     z = round(qmin - low / s)
    symmetric                 s = max(|low|, |high|) / qmax        z = 0
    product of two grids      sum (a - za)(w - zw) = a.w - zw sum a - za sum w + K za zw

(-3.5, 10.2) in 4 bits: asymmetric gives s = 13.7 / 15 = 0.913, z = round(3.5 / 0.913) = 4;
symmetric gives s = 10.2 / 7 = 1.457, and the codes below -2 are never used.

Source    Jacob et al., "Quantization and Training of Neural Networks for Efficient
          Integer-Arithmetic-Only Inference", CVPR 2018, arXiv:1712.05877, sections 2.1-2.4.
Differs   Ties round to even, as torch and ONNX Runtime do; gemmlowp rounds them away from zero.
Left out  Stochastic rounding; zero points that are not integers (HQQ).
Read      This file first. Used by everything in reference/quantization. integer.py goes on to
          the next layer's codes, packing.py puts codes into bytes.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

INT32_MAX = 2**31 - 1
BIT_WIDTHS = (*range(2, 9), 16)  # no kernel and no file format has 9 to 15
EXACT_IN_FLOAT64 = 2**53  # integers below it, and their sums


class Range(NamedTuple):
    """The values a grid should cover. The ends broadcast to the tensor they describe."""

    low: Float[Tensor, "..."]
    high: Float[Tensor, "..."]


class Grid(NamedTuple):
    """Evenly spaced values. Scale and zero point broadcast to the tensor they describe."""

    scale: Float[Tensor, "..."]  # s, float32 or float64, above zero
    zero_point: Int[Tensor, "..."]  # z, the code whose value is exactly 0
    qmin: int
    qmax: int


def tensor_range(x: Float[Tensor, "..."]) -> Range:
    """One range for the whole tensor."""
    return Range(*widened(x).aminmax())


def channel_range(x: Float[Tensor, "..."], axis: int = 0) -> Range:
    """One range for each index of `axis`: (8, 3, 5, 5) with axis 0 gives (8, 1, 1, 1)."""
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis is {axis}; a tensor of shape {tuple(x.shape)} has {x.ndim} axes")
    others = [dim for dim in range(x.ndim) if dim != axis % x.ndim]
    values = widened(x)
    return Range(values.amin(others, keepdim=True), values.amax(others, keepdim=True))


def token_range(x: Float[Tensor, "... features"]) -> Range:
    """One range for each row: (2, 7, 64) gives (2, 7, 1), and a vector is one row."""
    values = widened(x)
    return Range(values.amin(-1, keepdim=True), values.amax(-1, keepdim=True))


def group_range(x: Float[Tensor, "... features"], group_size: int) -> Range:
    """One range for each `group_size` neighbours of a row, repeated over them: the shape of x.

    What is stored is every group_size-th column.
    """
    features = x.shape[-1]
    if group_size < 1 or features % group_size:
        raise ValueError(f"{features} features do not split into groups of {group_size}")
    groups = token_range(x.unflatten(-1, (-1, group_size)))
    return Range(*(end.expand(*end.shape[:-1], group_size).flatten(-2) for end in groups))


def asymmetric_grid(span: Range, bits: int = 8, signed: bool = False) -> Grid:
    """Every code is used: low is the lowest, high the highest. Codes are uint8, or int8."""
    levels = 2 ** checked_bits(bits)
    qmin = -levels // 2 if signed else 0
    low, high = _finite_ends(span)
    low, high = low.clamp(max=0), high.clamp(min=0)  # zero must be on the grid: it pads and gates
    scale = _usable(high / (levels - 1) - low / (levels - 1))
    zero_point = (qmin - low / scale).round().to(torch.int32)
    return Grid(scale, zero_point, qmin, qmin + levels - 1)


def symmetric_grid(span: Range, bits: int = 8) -> Grid:
    """Zero is code 0, and -x is on the grid when x is: the most negative code is not used."""
    top_code = 2 ** (checked_bits(bits) - 1) - 1
    scale = _usable(_magnitude(span) / top_code)
    return Grid(scale, _zeros_like(scale), -top_code, top_code)


def full_symmetric_grid(span: Range, bits: int = 8) -> Grid:
    """Zero is code 0 and every code is used, so the step is finer by (2**bits - 2) / (2**bits - 1).

    The largest positive value lies half a step above the highest code.
    """
    half = 2 ** (checked_bits(bits) - 1)
    scale = _usable(_magnitude(span) / (half - 0.5))
    return Grid(scale, _zeros_like(scale), -half, half - 1)


def power_of_two_grid(span: Range, bits: int = 8) -> Grid:
    """The symmetric grid with its step rounded up to a power of two, for hardware that shifts."""
    grid = symmetric_grid(span, bits)
    mantissa, exponent = torch.frexp(grid.scale)  # mantissa in [0.5, 1): exact, where log2 is not
    exponent = exponent - (mantissa == 0.5).to(exponent.dtype)
    return grid._replace(scale=torch.ldexp(torch.ones_like(grid.scale), exponent))


def quantize(x: Float[Tensor, "..."], grid: Grid) -> Int[Tensor, "..."]:
    """The code of the nearest grid value. int32, so that sums of codes do not wrap.

    Raises:
        ValueError: x contains inf or nan, which no code stands for.
    """
    codes = (widened(x) / grid.scale).round() + grid.zero_point
    return codes.clamp(grid.qmin, grid.qmax).to(torch.int32)


def dequantize(codes: Int[Tensor, "..."], grid: Grid) -> Float[Tensor, "..."]:
    return (codes.to(torch.int32) - grid.zero_point) * grid.scale


def fake_quantize(x: Float[Tensor, "..."], grid: Grid) -> Float[Tensor, "..."]:
    """The nearest grid value, in the dtype of x."""
    return dequantize(quantize(x, grid), grid).to(x.dtype)


def integer_matmul(
    a: Int[Tensor, "... d_in"],
    weight: Int[Tensor, "d_out d_in"],
    a_zero: Int[Tensor, "..."],  # one, or one per row: (..., 1)
    weight_zero: Int[Tensor, "..."],  # one, or one per output: (d_out, 1)
) -> Int[Tensor, "... d_out"]:
    """sum (a - za)(w - zw), without subtracting: the kernel sees only the 8-bit codes.

    Raises:
        OverflowError: a sum does not fit the int32 accumulator of an integer kernel.
    """
    weight_zero = weight_zero.reshape(-1)
    corrections = weight_zero * a.sum(-1, keepdim=True) + a_zero * weight.sum(-1)
    product = exact_matmul(a, weight)
    return fit_int32(product - corrections + a.shape[-1] * a_zero * weight_zero)


def exact_matmul(
    a: Int[Tensor, "... d_in"], weight: Int[Tensor, "d_out d_in"]
) -> Int[Tensor, "... d_out"]:
    """a @ weight.T as int64. torch multiplies integers without BLAS, and float64 is as exact.

    Raises:
        OverflowError: the codes are so large that a sum could leave what float64 holds exactly.
    """
    largest = [int(x.abs().max()) if x.numel() else 0 for x in (a.long(), weight.long())]
    if largest[0] * largest[1] * a.shape[-1] >= EXACT_IN_FLOAT64:
        raise OverflowError(
            f"codes up to {largest[0]} and {largest[1]}, {a.shape[-1]} to a sum, may reach 2**53"
        )
    return (a.double() @ weight.double().T).long()


def fit_int32(sums: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """The sums as int32.

    Raises:
        OverflowError: one does not fit; up to 65 793 products of uint8 and int8 always do.
    """
    largest = int(sums.abs().max()) if sums.numel() else 0
    if largest > INT32_MAX:
        raise OverflowError(f"an accumulator reached {largest}; int32 holds {INT32_MAX}")
    return sums.to(torch.int32)


def checked_bits(bits: int) -> int:
    """The same number.

    Raises:
        ValueError: no kernel has codes of that many bits.
    """
    if bits not in BIT_WIDTHS:
        raise ValueError(f"bits must be 16 or from 2 to 8, got {bits}")
    return bits


def widened(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The values, at least in float32: half precision cannot hold x / s + z for 8 bits.

    Raises:
        ValueError: there are none, or one is inf or nan.
    """
    if x.numel() == 0:
        raise ValueError(f"a tensor of shape {tuple(x.shape)} has no values")
    if not all(map(torch.isfinite, x.detach().aminmax())):  # nan wins both; no mask is made
        raise ValueError(f"a tensor of shape {tuple(x.shape)} contains inf or nan")
    return x if x.dtype == torch.float64 else x.float()


def _finite_ends(span: Range) -> Range:
    low, high = widened(span.low), widened(span.high)
    if (low > high).any():
        raise ValueError(f"range is upside down: low {low.max():g}, high {high.min():g}")
    return Range(low, high)


def _magnitude(span: Range) -> Tensor:
    low, high = _finite_ends(span)
    return torch.maximum(low.abs(), high.abs())


def _usable(scale: Tensor) -> Tensor:
    """A range that is only zero gets step 1: it holds its one value exactly."""
    tiny = torch.finfo(scale.dtype).tiny  # a smaller step is flushed to 0, and divided by
    return torch.where(scale == 0, 1.0, scale.clamp(min=tiny))


def _zeros_like(scale: Tensor) -> Tensor:
    return torch.zeros_like(scale, dtype=torch.int32)
