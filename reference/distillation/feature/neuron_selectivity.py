"""NST: channels as samples, and a student whose samples have the teacher's distribution.

    x_i     channel i of a map, over its places, at length 1
    MMD^2 = mean_ij k(t_i, t_j) + mean_ij k(s_i, s_j) - 2 mean_ij k(t_i, s_j)

    linear        k = x'y                       MMD^2 = |mean_i t_i - mean_i s_i|^2
    polynomial    k = (x'y)^2                   also compares which places are active together
    gaussian      k = exp(-|x - y|^2 / (2 v))   compares all moments; zero iff distributions agree

The number of channels and their order do not matter, so there is no regressor. v is the mean
squared distance of the teacher's channels.

Source    Huang and Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer",
          2017, arXiv:1707.01219, section 4; MMD: Gretton et al. 2012.
Differs   v is of the teacher alone, where the paper means the pairs: so it is a constant.
Left out  The unbiased estimate of MMD^2, which may be negative.
Read      pairs.py first.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from reference.distillation.feature.regressors import same_size
from reference.distillation.feature.vectors import off_diagonal, unit

Channels = Float[Tensor, "rows channels places"]
Gram = Float[Tensor, "rows channels others"]
# inner products of unit vectors, each row's v -> k
Kernel = Callable[[Tensor, Tensor], Tensor]


def linear(inner: Gram, v: Float[Tensor, "rows 1 1"]) -> Gram:
    return inner


def polynomial(inner: Gram, v: Float[Tensor, "rows 1 1"]) -> Gram:
    return inner.square()


def gaussian(inner: Gram, v: Float[Tensor, "rows 1 1"]) -> Gram:
    return torch.exp(-(2 - 2 * inner) / (2 * v))


def selectivity_transfer(
    student: Float[Tensor, "rows _ _ _"],
    teacher: Float[Tensor, "_ _ _ _"],
    kernel: Kernel = polynomial,
) -> Float[Tensor, ""]:
    """MMD^2, the mean over rows.

    Raises:
        ValueError: the numbers of rows differ.
    """
    mine, theirs = (unit(each.flatten(2)) for each in same_size(student, teacher))
    v = mean_squared_distance(theirs.detach())

    def mean(x: Tensor, y: Tensor) -> Float[Tensor, " rows"]:
        return kernel(x @ y.mT, v).mean((1, 2))

    return (mean(theirs, theirs) + mean(mine, mine) - 2 * mean(theirs, mine)).mean()


def mean_squared_distance(channels: Channels) -> Float[Tensor, "rows 1 1"]:
    """Of distinct channels, at length 1; 1 where they are all alike or there is only one."""
    distances = 2 - 2 * channels @ channels.mT
    pairs = math.prod(distances.shape[1:]) - distances.shape[1]
    mean = distances.masked_fill(~off_diagonal(distances), 0).sum((1, 2), keepdim=True)
    mean = mean / max(pairs, 1)
    return mean.masked_fill(mean <= 1e-6, 1)  # alike, but for float32's rounding
