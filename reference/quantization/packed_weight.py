"""A weight as it is stored: packed codes, and a step (and zero point) for each group of a row.

    W[o, k] = s[o, k / g] (q[o, k] - z[o, k / g])             k / g rounded down
    bits per weight = b + (bits of s + bits of z) / g           4 + (16 + 4) / 128 = 4.156

Codes are stored without a sign, as files and kernels want them: those of a signed grid are shifted
by 2**(b - 1), and where its zero point is 0 no zero points are stored.

Source    ONNX Runtime, docs/ContribOperators.md, com.microsoft.MatMulNBits (the layout);
          Yao et al., "ZeroQuant", NeurIPS 2022, arXiv:2206.01861, section 4.1 (groups).
Differs   A step stored in half precision is rounded before the codes are chosen, so that nothing is
          lost later.
Left out  Steps that are quantized themselves (QLoRA, GGUF's K types); outliers kept apart.
Read      affine.py and packing.py first. Used by weight_only.py and onnx_weights.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from reference.quantization.affine import (
    Grid,
    Range,
    asymmetric_grid,
    checked_bits,
    dequantize,
    quantize,
    token_range,
)
from reference.quantization.packing import pack, unpack

Granularity = Literal["tensor", "channel"] | int  # or the size of a group


@dataclass(frozen=True)
class WeightOnlyConfig:
    bits: int = 4
    granularity: Granularity = 32  # who shares a step: all, a row, or so many neighbours in it
    make_grid: Callable[[Range, int], Grid] = asymmetric_grid
    scale_dtype: torch.dtype = torch.float32  # what a step is stored in, and so rounded to

    def __post_init__(self) -> None:
        if checked_bits(self.bits) > 8:
            raise ValueError(f"bits are {self.bits}; weights in more than 8 are kept in half")


W4G128 = WeightOnlyConfig(bits=4, granularity=128)  # what files of language models usually hold


@dataclass(frozen=True)
class PackedWeight:
    """A matrix as it is stored. `steps` counts (rows, groups); per tensor it is (1, 1)."""

    codes: UInt8[Tensor, "d_out bytes"]
    scale: Float[Tensor, "rows groups"]
    zero_points: UInt8[Tensor, "rows zero_bytes"] | None  # packed; None: 2**(bits - 1) throughout
    bits: int
    d_in: int

    @property
    def nbytes(self) -> int:
        parts = (self.codes, self.scale, self.zero_points)
        return sum(part.numel() * part.element_size() for part in parts if part is not None)

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.nbytes / (len(self.codes) * self.d_in)


def pack_weight(
    weight: Float[Tensor, "d_out d_in"], config: WeightOnlyConfig = WeightOnlyConfig()
) -> PackedWeight:
    """The weight's nearest codes, packed along each row.

    Raises:
        ValueError: values that are not finite, no values, or groups that do not divide a row.
    """
    groups = grouped(weight, config.granularity)
    grid = stored_grid(config.make_grid(token_range(groups), config.bits), config.scale_dtype)
    return packed(quantize(groups, grid).reshape(weight.shape), grid, config)


def packed(codes: Int[Tensor, "d_out d_in"], grid: Grid, config: WeightOnlyConfig) -> PackedWeight:
    """Codes that a method chose, on a grid with one step for each (row, group, 1)."""
    shift = 2 ** (config.bits - 1) if grid.qmin < 0 else 0
    zeros = None
    if shift == 0 or (grid.zero_point != 0).any():
        zeros = pack((grid.zero_point + shift).squeeze(-1), config.bits)
    scale = grid.scale.squeeze(-1).to(config.scale_dtype)
    return PackedWeight(pack(codes + shift, config.bits), scale, zeros, config.bits, codes.shape[1])


def unpack_weight(packed: PackedWeight) -> Float[Tensor, "d_out d_in"]:
    """What the codes stand for, in float32 (float64 where the steps are)."""
    codes = unpack(packed.codes, packed.bits, packed.d_in)
    scale = packed.scale if packed.scale.dtype == torch.float64 else packed.scale.float()
    grouped = codes.reshape(len(packed.scale), packed.scale.shape[1], -1)
    grid = Grid(scale.unsqueeze(-1), _zero_points(packed).unsqueeze(-1), 0, 2**packed.bits - 1)
    return dequantize(grouped, grid).reshape(codes.shape)


def grouped(
    weight: Float[Tensor, "d_out d_in"], granularity: Granularity
) -> Float[Tensor, "rows groups size"]:
    """The weight with the values that share a step along the last axis; (1, 1, all) per tensor.

    Raises:
        ValueError: groups that do not divide a row.
    """
    if granularity == "tensor":
        return weight.reshape(1, 1, -1)
    size = weight.shape[1] if granularity == "channel" else granularity
    if size < 1 or weight.shape[1] % size:
        raise ValueError(f"{weight.shape[1]} inputs do not split into groups of {size}")
    return weight.unflatten(1, (-1, size))


def stored_grid(grid: Grid, dtype: torch.dtype) -> Grid:
    """The grid with the step that `dtype` keeps of its own: rounding must know what is stored.

    Raises:
        ValueError: a step is too large for the dtype.
    """
    kept = grid.scale.to(dtype)
    if not torch.isfinite(kept).all():
        raise ValueError(f"a step of {grid.scale.max():g} does not fit {dtype}")
    kept = kept.clamp(min=torch.finfo(dtype).tiny)
    return grid._replace(scale=kept.to(torch.promote_types(dtype, torch.float32)))


def _zero_points(packed: PackedWeight) -> Int[Tensor, "rows groups"]:
    if packed.zero_points is None:
        return torch.full_like(packed.scale, 2 ** (packed.bits - 1), dtype=torch.int32)
    return unpack(packed.zero_points, packed.bits, packed.scale.shape[1])
