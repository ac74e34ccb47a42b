"""Cross-layer equalization: give every channel between two layers the same share of both grids.

A ReLU lets a positive factor through: relu(s y) = s relu(y). So channel i may be divided by s_i
where it is made and multiplied by s_i where it is read. Nothing changes in float; with one grid for
the whole weight, a channel that is a hundred times smaller than its neighbours no longer rounds
to zero.

    r1_i = max |W1_i|, row i       r2_i = max |W2_i|, column i
    s_i = sqrt(r1_i r2_i) / r2_i = sqrt(r1_i / r2_i)
    W1 <- S^-1 W1    b1 <- S^-1 b1    W2 <- W2 S        then r1 = r2 = sqrt(r1 r2)

Source    Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
          ICCV 2019, arXiv:1906.04721, section 4.1.
Differs   A channel that one of the two layers does not use (r = 0) is left alone.
Left out  Bias absorption; grouped and depthwise second layers. ReLU6 and GELU are not homogeneous,
          so nothing here holds for them.
Read      batch_norm.py first: fold before equalizing.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.quantization import walk

TOLERANCE = 1e-4  # a sweep that moves no scale by more than this has converged


class Equalized(NamedTuple):
    first_weight: Float[Tensor, "channels ..."]
    first_bias: Float[Tensor, " channels"] | None
    second_weight: Float[Tensor, "d_out channels ..."]
    scale: Float[Tensor, " channels"]  # s


def equalize(
    first_weight: Float[Tensor, "channels ..."],
    first_bias: Float[Tensor, " channels"] | None,
    second_weight: Float[Tensor, "d_out d_in ..."],
) -> Equalized:
    """Rescale the channels between two layers with a ReLU, or nothing, between them.

    Raises:
        ValueError: the second layer does not read the channels that the first makes.
    """
    channels = len(first_weight)
    if second_weight.shape[1] != channels:
        raise ValueError(
            f"the first layer makes {channels} channels, the second reads {second_weight.shape[1]}"
        )
    first_range = first_weight.abs().flatten(1).amax(1)
    second_range = second_weight.abs().transpose(0, 1).flatten(1).amax(1)
    used = (first_range > 0) & (second_range > 0)
    scale = torch.where(used, (first_range / second_range).sqrt(), 1.0)
    return Equalized(
        first_weight / _along(scale, first_weight, axis=0),
        None if first_bias is None else first_bias / scale,
        second_weight * _along(scale, second_weight, axis=1),
        scale,
    )


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
    result = equalize(first.weight.detach(), bias, second.weight.detach())
    first.weight = nn.Parameter(result.first_weight)
    first.bias = None if result.first_bias is None else nn.Parameter(result.first_bias)
    second.weight = nn.Parameter(result.second_weight)
    return result.scale


def _along(scale: Tensor, weight: Tensor, axis: int) -> Tensor:
    """The scale with as many axes as the weight, its values along one of them."""
    return scale.reshape([-1 if dim == axis else 1 for dim in range(weight.ndim)])
