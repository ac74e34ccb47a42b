"""Cross-layer equalization: give every channel between two layers the same share of both grids.

A ReLU lets a positive factor through: relu(s y) = s relu(y). So channel i may be divided by s_i
where it is made and multiplied by s_i where it is read. Nothing changes in float; with one grid for
the whole weight, a channel that is a hundred times smaller than its neighbours no longer rounds
to zero.

    r1_i = max |W1_i|, row i       r2_i = max |W2_i|, column i
    s_i = sqrt(r1_i r2_i) / r2_i = sqrt(r1_i / r2_i)
    W1 <- S^-1 W1    b1 <- S^-1 b1    W2 <- W2 S        then r1 = r2 = sqrt(r1 r2)

A channel that was scaled up may have got a large bias, and with it a wide activation. Where it
never falls below c > 0 the ReLU lets all of it through, and c may be added after the second layer:

    b1 <- b1 - c     b2 <- b2 + W2 c                    c = max(0, beta - 3 |gamma|), batch norm's

Source    Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
          ICCV 2019, arXiv:1906.04721, sections 4.1.1-4.1.3.
Differs   A channel that one of the two layers does not use (r = 0) is left alone.
Left out  Three layers at once (depthwise between two pointwise). ReLU6 and GELU are not
          homogeneous, so nothing here holds for them.
Read      batch_norm.py first: fold before equalizing.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference import walk

TOLERANCE = 1e-4  # a sweep that moves no scale by more than this has converged


class Equalized(NamedTuple):
    first_weight: Float[Tensor, "channels ..."]
    first_bias: Float[Tensor, " channels"] | None
    second_weight: Float[Tensor, "d_out channels ..."]
    scale: Float[Tensor, " channels"]  # s


class Absorbed(NamedTuple):
    first_bias: Float[Tensor, " channels"]
    second_bias: Float[Tensor, " d_out"]


def equalize(
    first_weight: Float[Tensor, "channels ..."],
    first_bias: Float[Tensor, " channels"] | None,
    second_weight: Float[Tensor, "d_out d_in ..."],
    groups: int = 1,
) -> Equalized:
    """Rescale the channels between two layers with a ReLU, or nothing, between them.

    Args:
        groups: of the second layer; as many as channels where it is depthwise.

    Raises:
        ValueError: the second layer does not read the channels that the first makes.
    """
    channels, read = len(first_weight), groups * second_weight.shape[1]
    if read != channels:
        raise ValueError(f"the first layer makes {channels} channels, the second reads {read}")
    first_range = first_weight.abs().flatten(1).amax(1)
    readers = second_weight.unflatten(0, (groups, -1))  # (groups, d_out / groups, d_in, ...)
    second_range = readers.abs().transpose(1, 2).flatten(2).amax(2).flatten()
    used = (first_range > 0) & (second_range > 0)
    scale = torch.where(used, (first_range / second_range).sqrt(), 1.0)
    return Equalized(
        first_weight / scale.reshape(-1, *(1 for _ in first_weight.shape[1:])),
        None if first_bias is None else first_bias / scale,
        (readers * _read_by_group(scale, readers)).flatten(0, 1),
        scale,
    )


def absorb_bias(
    first_bias: Float[Tensor, " channels"],
    second_weight: Float[Tensor, "d_out d_in ..."],
    second_bias: Float[Tensor, " d_out"],
    shift: Float[Tensor, " channels"],
    groups: int = 1,
) -> Absorbed:
    """Move a constant of each channel from before a ReLU to after the layer that reads it.

    Exact for inputs whose channels stay at or above `shift` before the ReLU, and whose second layer
    pads nothing: a border of zeros does not get the constant.

    Args:
        shift: c, not negative; `gaussian_floor` gives the paper's.

    Raises:
        ValueError: a shift is negative: a ReLU would not let it through.
    """
    if (shift < 0).any():
        raise ValueError(f"shifts must not be negative, the smallest is {shift.min():g}")
    readers = second_weight.unflatten(0, (groups, -1))
    moved = (readers * _read_by_group(shift, readers)).flatten(2).sum(2).flatten()
    return Absorbed(first_bias - shift, second_bias + moved)


def gaussian_floor(
    mean: Float[Tensor, " channels"], deviation: Float[Tensor, " channels"]
) -> Float[Tensor, " channels"]:
    """max(0, mean - 3 deviation): what 99.87 % of a Gaussian channel stays above."""
    return (mean - 3 * deviation.abs()).clamp(min=0)


def equalize_model(
    model: nn.Module, pairs: Sequence[tuple[str, str]], max_sweeps: int = 20
) -> nn.Module:
    """A copy whose named pairs of layers are equalized, until a sweep changes nothing.

    Pairs may share layers, as in a chain; the second layer of a pair must be the only reader of
    the first, through a ReLU or directly.
    """
    equalized = copy.deepcopy(model)
    layers = [(walk.layer(equalized, a), walk.layer(equalized, b)) for a, b in pairs]
    for _ in range(max_sweeps):
        scales = [_equalize_pair_(first, second) for first, second in layers]
        if all((scale - 1).abs().max() <= TOLERANCE for scale in scales):
            break
    return equalized


def _equalize_pair_(first: walk.Layer, second: walk.Layer) -> Tensor:
    bias = None if first.bias is None else first.bias.detach()
    groups = second.groups if isinstance(second, nn.Conv2d) else 1
    result = equalize(first.weight.detach(), bias, second.weight.detach(), groups)
    first.weight = nn.Parameter(result.first_weight)
    first.bias = None if result.first_bias is None else nn.Parameter(result.first_bias)
    second.weight = nn.Parameter(result.second_weight)
    return result.scale


def _read_by_group(values: Tensor, readers: Tensor) -> Tensor:
    """One value per channel, to multiply weights of shape (groups, d_out / groups, d_in, ...)."""
    groups, _, d_in, *kernel = readers.shape
    return values.reshape(groups, 1, d_in, *(1 for _ in kernel))
