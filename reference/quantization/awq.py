"""AWQ: make the weights that meet large inputs larger before rounding, and divide it out after.

Rounding errs by half a step whatever the weight, so a weight twice as large errs half as much once
it is divided by two again. The step only grows when the largest weight of its group does. Inputs
are very unequal: a scale per input, taken from how large it is, protects the few that matter.

    y = W x = (W s)(x / s)        rounded: Q(W s)(x / s)       s folds into what comes before
    s_j = mean|x_j|^a                                          or, "duo": / mean|w_j|^(1 - a)
    a = argmin |Q(W s)(x / s) - W x|^2                         a in 0, 1/20 ... 1, and s = 1

Layers that read the same input (query, key and value; gate and up) share s and are judged together.
Then each group's range is shrunk where its own part of the output gets better by it, and a row
keeps that only if its whole output does.

s = 1 is always tried, so the chosen error is never above that of rounding to nearest.

Source    Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and
          Acceleration", MLSys 2024, arXiv:2306.00978, section 3.2 (scales) and the authors' code
          (clipping, sqrt normalisation, duo scaling).
Differs   Errors come from X'X: exact for any number of tokens, where the authors sample 512 for the
          clip. Layers are judged by their own outputs, not by the block's. Both ends shrink
          together. A row falls back to the full range (above).
Left out  Mixed with activations in 8 bits; searching s by gradient (OmniQuant).
Read      packed_weight.py and statistics.py first; scaling.py folds s; blockwise.py for models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from reference.quantization.affine import Grid, Range, dequantize, quantize, token_range
from reference.quantization.packed_weight import (
    W4G128,
    PackedWeight,
    WeightOnlyConfig,
    grouped,
    packed,
    stored_grid,
)
from reference.statistics import InputStatistics, matching

SMALLEST_SCALE = 1e-4  # as the authors' code: an input that is never there needs no protection


@dataclass(frozen=True)
class AwqConfig:
    stored: WeightOnlyConfig = W4G128
    steps: int = 20  # values of a, beside s = 1
    duo: bool = True  # try scales that divide by the weights' size, too
    clip_steps: int = 10  # ranges of a group, from 1 down to `narrowest`; 0: no clipping
    narrowest: float = 0.5

    def __post_init__(self) -> None:
        if self.steps < 0 or self.clip_steps < 0:
            raise ValueError(f"steps are {self.steps} and {self.clip_steps}; at least 0 each")
        if not 0 < self.narrowest <= 1:
            raise ValueError(f"narrowest must be in (0, 1], got {self.narrowest}")


class Rounded(NamedTuple):
    """A weight on its grid, groups apart."""

    weight: Float[Tensor, "d_out d_in"]
    codes: Float[Tensor, "rows groups size"]
    grid: Grid


class AwqResult(NamedTuple):
    weights: list[Float[Tensor, "_ d_in"]]  # Q(W s) / s, in the dtypes of the given ones
    scale: Float[Tensor, " d_in"]  # s
    packed: list[PackedWeight]  # Q(W s), as stored
    error: float  # mean squared output error per token, over all outputs of all layers
    nearest_error: float  # the same for s = 1 and full ranges


def awq(
    weights: Sequence[Float[Tensor, "_ d_in"]],
    inputs: InputStatistics,
    config: AwqConfig = AwqConfig(),
) -> AwqResult:
    """Round the weights of linear layers that share their inputs.

    Raises:
        ValueError: no weight, groups that do not divide a row, values that are not finite, or a
            weight that does not read these inputs.
    """
    wide = [matching(weight, inputs) for weight in weights]
    if not wide:
        raise ValueError("there is no weight to round")
    best = scale = torch.ones_like(inputs.mean_abs)
    least = nearest = _error(wide, best, inputs, config.stored)
    for scale in _scales(wide, inputs, config):
        error = _error(wide, scale, inputs, config.stored)
        if error < least:
            best, least = scale, error
    chosen = [_clipped(each, best, inputs, config) for each in wide]
    effective = [each.weight / best for each in chosen]
    return AwqResult(
        [each.to(given.dtype) for each, given in zip(effective, weights, strict=True)],
        best,
        [
            packed(each.codes.reshape(given.shape), each.grid, config.stored)
            for each, given in zip(chosen, weights, strict=True)
        ],
        _total(effective, wide, inputs),
        nearest,
    )


def _scales(weights: list[Tensor], inputs: InputStatistics, config: AwqConfig) -> Iterator[Tensor]:
    weight_size = _relative_size(weights, config.stored)
    for step in range(1, config.steps + 1):
        a = step / config.steps
        powered = inputs.mean_abs**a
        yield _normalised(powered)
        if config.duo:
            yield _normalised(powered / (weight_size ** (1 - a)).clamp(min=SMALLEST_SCALE))


def _normalised(scale: Float[Tensor, " d_in"]) -> Float[Tensor, " d_in"]:
    """Around one: a common factor changes nothing but the range of numbers."""
    scale = scale.clamp(min=SMALLEST_SCALE)
    return scale / (scale.max() * scale.min()).sqrt()


def _relative_size(weights: list[Tensor], config: WeightOnlyConfig) -> Float[Tensor, " d_in"]:
    """mean |w| of each input, each value relative to the largest of its group."""
    groups = [grouped(weight, config.granularity).abs() for weight in weights]
    shares = [each / each.amax(-1, keepdim=True).clamp(min=1e-12) for each in groups]
    rows = [share.reshape(weight.shape) for share, weight in zip(shares, weights, strict=True)]
    return torch.cat(rows).mean(0)


def _error(
    weights: list[Tensor], scale: Tensor, inputs: InputStatistics, config: WeightOnlyConfig
) -> float:
    rounded = [_on_grid(weight * scale, 1.0, config).weight / scale for weight in weights]
    return _total(rounded, weights, inputs)


def _total(rounded: list[Tensor], weights: list[Tensor], inputs: InputStatistics) -> float:
    errors = [inputs.output_error(a - b) for a, b in zip(rounded, weights, strict=True)]
    return torch.cat(errors).mean().item()


def _clipped(
    weight: Float[Tensor, "d_out d_in"],
    scale: Float[Tensor, " d_in"],
    inputs: InputStatistics,
    config: AwqConfig,
) -> Rounded:
    """W s on its grid, each group's range shrunk to what its part of the output likes best."""
    scaled, stored = weight * scale, config.stored
    full = _on_grid(scaled, 1.0, stored)
    if config.clip_steps == 0 or stored.granularity == "tensor":
        return full
    gram = inputs.gram / scale / scale.unsqueeze(1)
    best, least = torch.ones_like(full.grid.scale), _part_errors(full, scaled, gram)
    for step in range(1, config.clip_steps + 1):
        shrunk = 1 - (1 - config.narrowest) * step / config.clip_steps
        error = _part_errors(_on_grid(scaled, shrunk, stored), scaled, gram)
        best = torch.where(error < least, shrunk, best)
        least = torch.minimum(error, least)
    tried = _on_grid(scaled, best, stored)
    gain = _row_errors(full, scaled, gram) - _row_errors(tried, scaled, gram)
    kept = torch.where((gain > 0).reshape(-1, 1, 1), best, 1.0)
    return _on_grid(scaled, kept, stored)


def _on_grid(
    weight: Float[Tensor, "d_out d_in"],
    shrunk: Float[Tensor, "d_out groups 1"] | float,
    config: WeightOnlyConfig,
) -> Rounded:
    groups = grouped(weight, config.granularity)
    span = token_range(groups)
    grid = config.make_grid(Range(span.low * shrunk, span.high * shrunk), config.bits)
    grid = stored_grid(grid, config.scale_dtype)
    codes = quantize(groups, grid)
    return Rounded(dequantize(codes, grid).reshape(weight.shape), codes, grid)


def _part_errors(
    rounded: Rounded, weight: Tensor, gram: Float[Tensor, "d_in d_in"]
) -> Float[Tensor, "d_out groups 1"]:
    """What each group alone adds to the squared error of its row's output."""
    change = (rounded.weight - weight).reshape(rounded.codes.shape)
    size = change.shape[-1]
    own = torch.stack([gram[j : j + size, j : j + size] for j in range(0, len(gram), size)])
    return (torch.einsum("ogi,gij->ogj", change, own) * change).sum(-1, keepdim=True)


def _row_errors(rounded: Rounded, weight: Tensor, gram: Tensor) -> Float[Tensor, " d_out"]:
    change = rounded.weight - weight
    return ((change @ gram) * change).sum(1)
