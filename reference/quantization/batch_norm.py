"""Batch-norm folding: an affine map after a convolution is a convolution.

In eval mode batch norm multiplies channel o by a constant and adds another, so the convolution
before it can do both. What is left to quantize is one weight, not a weight and a float scale.

    y = gamma (W x + b - mean) / sqrt(var + eps) + beta
    W'_o = W_o gamma_o / sqrt(var_o + eps)
    b'_o = beta_o + (b_o - mean_o) gamma_o / sqrt(var_o + eps)

gamma may be negative or zero: nothing is divided by it.

Source    Jacob et al., CVPR 2018, arXiv:1712.05877, section 3.2.
Differs   The statistics are the final running ones; the paper folds during training.
Left out  Batch norm that follows an addition or a pooling (pre-activation networks): it has no
          convolution to fold into and is left as it is. Transposed convolutions.
Read      Used by static.py, qat.py and before any export to integers.
"""

import copy
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference import walk


class NormStatistics(NamedTuple):
    gamma: Float[Tensor, " channels"]
    beta: Float[Tensor, " channels"]
    mean: Float[Tensor, " channels"]
    variance: Float[Tensor, " channels"]
    epsilon: float


class Folded(NamedTuple):
    weight: Float[Tensor, "channels d_in height width"]
    bias: Float[Tensor, " channels"]


def fold(
    weight: Float[Tensor, "channels d_in height width"],
    bias: Float[Tensor, " channels"] | None,
    norm: NormStatistics,
) -> Folded:
    """The one convolution that equals the convolution and the batch norm after it."""
    factor = norm.gamma / (norm.variance + norm.epsilon).sqrt()
    before = torch.zeros_like(norm.mean) if bias is None else bias
    return Folded(weight * factor.reshape(-1, 1, 1, 1), norm.beta + (before - norm.mean) * factor)


def statistics(norm: nn.BatchNorm2d) -> NormStatistics:
    """
    Raises:
        ValueError: the layer normalises by the batch it sees, even in eval mode.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("batch norm with track_running_stats=False has nothing to fold")
    mean, variance = norm.running_mean, norm.running_var
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.detach()
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach()
    return NormStatistics(gamma, beta, mean, variance, norm.eps)


def fold_model(model: nn.Module) -> nn.Module:
    """A copy in eval mode, each Conv2d biased and the BatchNorm2d after it an Identity."""
    folded = copy.deepcopy(model).eval()
    for conv_name, norm_name in foldable(folded).items():
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        walk.replace_(folded, conv_name, folded_conv(conv, norm))
        walk.replace_(folded, norm_name, nn.Identity())
    return folded


def foldable(model: nn.Module) -> dict[str, str]:
    """The name of each Conv2d that a BatchNorm2d follows, and that batch norm's name.

    A pair is two neighbours among one module's children, in the order they were registered: that
    module must call the second on the first's output, and on nothing else.
    """
    pairs = {}
    for name, parent in model.named_modules():
        prefix = f"{name}." if name else ""
        for (conv_name, conv), (norm_name, norm) in pairwise(parent.named_children()):
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            if conv.out_channels == norm.num_features:
                pairs[prefix + conv_name] = prefix + norm_name
    return pairs


def folded_conv(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A new convolution with the geometry of `conv` and the batch norm inside."""
    bias = None if conv.bias is None else conv.bias.detach()
    weight, bias = fold(conv.weight.detach(), bias, statistics(norm))
    both = copy.deepcopy(conv)
    both.weight = nn.Parameter(weight)
    both.bias = nn.Parameter(bias)
    return both
