"""GPTQ: round the inputs of a layer one by one, and let those not yet rounded make up for it.

Outputs do not share weights, but inputs are correlated: what rounding input j adds to an output,
the weights of the inputs after j can take away. The best correction is a least-squares step, and
one Cholesky factor holds all of them.

    for j in order    q_j = Q(w_j)           e_j = (w_j - q_j) / U_jj               in every row
                      w_k <- w_k - e_j U_jk                                         for k > j
    where             (G + lambda I)^-1 = U' U      U upper triangular, lambda = 0.01 mean G_jj
    what it costs     tr(D (G + lambda I) D') = sum e^2                       D = Q - W, exactly

Columns far to the right are corrected once per block of columns: the result is the same, memory is
touched less. A group takes its step from corrected weights, when its first column is reached.

It is Babai's nearest plane: without clipping no row costs more than sum (s_j / 2 U_jj)^2. A row can
still lose to nearest; over a layer that hardly happens.

Source    Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
          Transformers", 2022, arXiv:2210.17323, section 3.3 and algorithm 1; act-order and static
          groups come from the authors' later code. The bound: "The Geometry of LLM Quantization:
          GPTQ as Babai's Nearest Plane Algorithm", 2025, arXiv:2507.18553.
Differs   Inputs that calibration never saw keep their weights, rounded to nearest; the authors
          zero them. Blocks end where groups do. Damping grows tenfold until a factor exists.
Left out  Correcting for inputs that earlier layers changed (GPTAQ, 2025); sparsity.
Read      packed_weight.py and statistics.py first. blockwise.py quantizes whole models.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reference.cholesky import MOST_DAMPING, inverse_factor
from reference.quantization.affine import Grid, dequantize, quantize, token_range
from reference.quantization.calibration import narrowed
from reference.quantization.packed_weight import (
    W4G128,
    PackedWeight,
    WeightOnlyConfig,
    grouped,
    packed,
    stored_grid,
)
from reference.statistics import InputStatistics, matching


@dataclass(frozen=True)
class GptqConfig:
    stored: WeightOnlyConfig = W4G128
    act_order: bool = False  # largest inputs first, while all the others can still correct
    static_groups: bool = False  # steps from the weights as given: groups stay neighbours
    clip_steps: int = 0  # shrunken ranges to try for each group; 0: the full range
    damping: float = 0.01  # lambda, as a share of the mean of G's diagonal
    block_size: int = 128

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ValueError(f"block_size must be at least 1, got {self.block_size}")
        if not 0 < self.damping <= MOST_DAMPING:
            raise ValueError(f"damping must be in (0, {MOST_DAMPING:g}], got {self.damping}")
        if self.clip_steps < 0:
            raise ValueError(f"clip_steps must not be negative, got {self.clip_steps}")

    @property
    def steps_known_before(self) -> bool:
        return self.static_groups or self.stored.granularity == "tensor"


class GptqResult(NamedTuple):
    weight: Float[Tensor, "d_out d_in"]  # dequantized, in the dtype of the given one
    codes: Int[Tensor, "d_out d_in"]
    grid: Grid  # of shape (d_out, groups, 1); (1, 1, 1) per tensor
    group_of: Int[Tensor, " d_in"]  # which group's step each input uses
    error: Float[Tensor, " d_out"]  # sum e^2: damped squared output error per token
    damping: float  # with which G + lambda I was positive definite


def gptq(
    weight: Float[Tensor, "d_out d_in"],
    inputs: InputStatistics,
    config: GptqConfig = GptqConfig(),
) -> GptqResult:
    """Round the weight of a linear layer for its outputs on the calibration inputs.

    Raises:
        ValueError: groups that do not divide a row, values that are not finite, a weight that does
            not read these inputs, or inputs whose G no damping makes positive definite.
    """
    wide = matching(weight, inputs)
    groups = grouped(wide, config.stored.granularity)
    size = wide.shape[1] // groups.shape[1]
    group_of = torch.arange(wide.shape[1], device=wide.device) // size
    order = _order(inputs, config.act_order)
    columns: list[Grid] = []  # the grid of each input, in order
    if config.steps_known_before:
        group_of = group_of[order]
        grid = _grid(groups, config)
        columns = [_of_group(grid, group) for group in group_of.tolist()]
    factor, damping = inverse_factor(_in_order(inputs.gram, order, config), config.damping)
    rounded = wide.T.index_select(0, order)  # one input is one row, in memory too
    codes, error = _solve_(rounded, factor, columns, size, config)
    if not config.steps_known_before:
        grid = _joined(columns[::size])
    back = order.argsort()
    del factor  # d_in x d_in
    codes = codes.T.index_select(1, back)
    rounded = rounded.T.index_select(1, back).to(weight.dtype)
    return GptqResult(rounded, codes, grid, group_of[back], error, damping)


def pack_gptq(result: GptqResult, config: GptqConfig) -> PackedWeight:
    """The weight as it is stored.

    Raises:
        ValueError: groups are not neighbours, as act-order without static groups leaves them.
    """
    if (result.group_of.diff() < 0).any():
        raise ValueError("groups are scattered over a row: act_order needs static_groups to pack")
    return packed(result.codes, result.grid, config.stored)


def _solve_(
    weight: Float[Tensor, "d_in d_out"],
    factor: Float[Tensor, "d_in d_in"],
    columns: list[Grid],
    group_size: int,
    config: GptqConfig,
) -> tuple[Int[Tensor, "d_in d_out"], Float[Tensor, " d_out"]]:
    """Codes and costs. Values replace the weight, and grids are appended to `columns`."""
    codes = torch.empty_like(weight, dtype=torch.int32)
    error = weight.new_zeros(weight.shape[1])
    for begin, end in _blocks(len(weight), group_size, config):
        scaled = torch.empty_like(weight[begin:end])  # e
        for j in range(begin, end):
            if j == len(columns):
                group = weight[j : j + group_size].T.unsqueeze(1)
                columns += [_of_group(_grid(group, config), 0)] * group_size
            codes[j] = quantize(weight[j], columns[j])
            value = dequantize(codes[j], columns[j])
            scaled[j - begin] = (weight[j] - value) / factor[j, j]
            weight[j] = value
            weight[j + 1 : end].addr_(factor[j, j + 1 : end], scaled[j - begin], alpha=-1)
        weight[end:].addmm_(factor[begin:end, end:].T, scaled, alpha=-1)
        error += scaled.square().sum(0)
    return codes, error


def _blocks(d_in: int, group_size: int, config: GptqConfig) -> list[tuple[int, int]]:
    """Where blocks begin and end: a group that takes its step late must begin up to date."""
    size = config.block_size
    if config.steps_known_before:
        group_size = d_in
    step = size // group_size * group_size  # whole groups
    if step:
        return [(begin, min(begin + step, d_in)) for begin in range(0, d_in, step)]
    return [
        (begin, min(begin + size, group + group_size))
        for group in range(0, d_in, group_size)
        for begin in range(group, group + group_size, size)
    ]


def _in_order(gram: Tensor, order: Int[Tensor, " d_in"], config: GptqConfig) -> Tensor:
    return gram[order.unsqueeze(1), order] if config.act_order else gram


def _order(inputs: InputStatistics, act_order: bool) -> Int[Tensor, " d_in"]:
    size = inputs.gram.diagonal()
    if act_order:
        return size.argsort(descending=True, stable=True)
    return torch.arange(len(size), device=size.device)


def _grid(groups: Float[Tensor, "rows groups size"], config: GptqConfig) -> Grid:
    span = token_range(groups)
    stored = config.stored
    if config.clip_steps:
        span = narrowed(groups, span, lambda s: stored.make_grid(s, stored.bits), config.clip_steps)
    return stored_grid(stored.make_grid(span, stored.bits), stored.scale_dtype)


def _of_group(grid: Grid, group: int) -> Grid:
    """One step for each row: (d_out,), or (1,) per tensor."""
    return grid._replace(scale=grid.scale[:, group, 0], zero_point=grid.zero_point[:, group, 0])


def _joined(groups: list[Grid]) -> Grid:
    scale = torch.stack([each.scale for each in groups], dim=1).unsqueeze(-1)
    zero_point = torch.stack([each.zero_point for each in groups], dim=1).unsqueeze(-1)
    return groups[0]._replace(scale=scale, zero_point=zero_point)
