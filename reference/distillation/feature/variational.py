"""VID: features of the teacher that the student's make likely, with a variance for each channel.

    q(t | s) = N(mu(s), v_c)                         mu: a regressor; v_c: learnt, one for a channel
    L        = mean of 1/2 log v_c + (t - mu)^2 / (2 v_c)
    v_c      = log(1 + exp(a_c)) + floor

It bounds the mutual information of both features from below. A channel that cannot be predicted
gets a large variance, and stops pulling; with all v fixed at 1 it is half the hint loss.

Source    Ahn et al., "Variational Information Distillation for Knowledge Transfer", CVPR 2019,
          arXiv:1904.05835, sections 2.1 and 2.2.
Differs   The mean over entries, where the paper has the sum. Without the constant log(2 pi) / 2.
Read      regressors.py first, which has the means.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reference.distillation.feature.regressors import Features, same_shape


class Variational(nn.Module):
    """A loss of two features, with channels on axis 1.

    Args:
        mean: mu, from the student's features to the teacher's shape.
        channels: of the teacher.
        variance: of all channels at the start.
        floor: what variances stay above.

    Raises:
        ValueError: not variance > floor > 0; at a batch, shapes as in `same_shape`, or channels
            other than said.
    """

    def __init__(
        self, mean: nn.Module, channels: int, variance: float = 5.0, floor: float = 1e-5
    ) -> None:
        super().__init__()
        if not variance > floor > 0:
            raise ValueError(f"expected variance > floor > 0, got {variance} and {floor}")
        start = math.log(math.expm1(variance - floor))
        self.mean, self.floor = mean, floor
        self.raw_variance = nn.Parameter(torch.full((channels,), start))

    def variance(self) -> Float[Tensor, " channels"]:
        return F.softplus(self.raw_variance) + self.floor

    def forward(self, student: Features, teacher: Features) -> Float[Tensor, ""]:
        mean, target = same_shape(self.mean(student), teacher)
        if target.shape[1] != len(self.raw_variance):
            counts = f"{target.shape[1]} channels and {len(self.raw_variance)} variances"
            raise ValueError(f"each channel of the teacher needs a variance, got {counts}")
        shape = (-1, *[1] * (target.ndim - 2))
        return negative_log_likelihood(mean, target, self.variance().reshape(shape))


def negative_log_likelihood(
    mean: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"], variance: Float[Tensor, "..."]
) -> Float[Tensor, ""]:
    """Of a Gaussian, without log(2 pi) / 2; the mean over all entries."""
    return (variance.log() + (target - mean).square() / variance).mean() / 2
