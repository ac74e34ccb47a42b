"""Self-distillation in closed form: kernel ridge regression on its own answers, again and again.

    f_t = argmin over f of sum_i (f(x_i) - y_(t-1),i)^2 + c_t |f|^2     y_0 labels, y_t = f_t(x)
    K = V diag(d) V^T, z = V^T y:      z_t,j = d_j / (d_j + c_t) z_(t-1),j

With one c after t rounds this is (d / (d + c))^t: a round shrinks directions of small d by more, so
rounds amplify the ridge and leave ever fewer directions, which no other single c does. It helps
while what shrinks is noise, and ends in a constant zero. The paper asks for a training error
instead of a c:

    (1 / N) sum_j (c_t / (c_t + d_j))^2 z_(t-1),j^2 = epsilon      if |y_(t-1)| > sqrt(N epsilon)
    rounds that can be had   >= (|y_0| / sqrt(N epsilon) - 1) d_min / d_max

Source    Mobahi, Farajtabar, Bartlett, "Self-Distillation Amplifies Regularization in Hilbert
          Space", NeurIPS 2020, arXiv:2002.05715, sections 2 and 3.
Differs   Several outputs at once, as a matrix: one c serves them all.
Left out  The bound on generalisation; kernels themselves.
Read      born_again.py does the same to networks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

HALVINGS = 200  # more than a float64 has steps between the bounds of c


@dataclass(frozen=True)
class Spectrum:
    """K = V diag(d) V^T, from small d to large."""

    values: Float[Tensor, " rows"]
    vectors: Float[Tensor, "rows rows"]


def spectrum(kernel: Float[Tensor, "rows rows"]) -> Spectrum:
    """
    Raises:
        ValueError: a kernel that is not symmetric, or has an eigenvalue below 0.
    """
    if not torch.allclose(kernel, kernel.T):
        raise ValueError("a kernel must be symmetric")
    values, vectors = torch.linalg.eigh(kernel.double())
    rounding = values.abs().max() * len(values) * torch.finfo(torch.float64).eps
    if values[0] < -rounding:
        raise ValueError(f"a kernel has no eigenvalue below 0, got {values[0].item()}")
    return Spectrum(values.clamp_min(0), vectors)


def shrinkage(values: Float[Tensor, " rows"], ridges: Sequence[float]) -> Float[Tensor, " rows"]:
    """What is left of each coefficient after the rounds: the product of d / (d + c).

    Raises:
        ValueError: a ridge that is not above 0.
    """
    if any(not ridge > 0 for ridge in ridges):
        raise ValueError(f"every ridge must be above 0, got {list(ridges)}")
    left = torch.ones_like(values)
    for ridge in ridges:
        left = left * values / (values + ridge)
    return left


def answers(
    found: Spectrum, targets: Float[Tensor, "rows outputs"], ridges: Sequence[float]
) -> Float[Tensor, "rows outputs"]:
    """y_t: what the last of the rounds says at the points it learnt from.

    Raises:
        ValueError: as `shrinkage`.
    """
    left = shrinkage(found.values, ridges).unsqueeze(1)
    return found.vectors @ (left * (found.vectors.T @ targets.double()))


def dual_coefficients(
    found: Spectrum, targets: Float[Tensor, "rows outputs"], ridges: Sequence[float]
) -> Float[Tensor, "rows outputs"]:
    """a with f_t(x) = sum_i k(x, x_i) a_i: the last round, fitted to the one before it.

    Raises:
        ValueError: no rounds, or as `shrinkage`.
    """
    if not ridges:
        raise ValueError("at least one round is needed, got no ridges")
    taught = answers(found, targets, ridges[:-1])
    left = (found.values + ridges[-1]).reciprocal().unsqueeze(1)
    return found.vectors @ (left * (found.vectors.T @ taught))


def ridge_for_error(
    found: Spectrum, targets: Float[Tensor, "rows outputs"], error: float
) -> float | None:
    """c_t at which the mean squared error over rows is `error`; None where zero is as good.

    Raises:
        ValueError: an error that is not above 0, or that no function of this kernel gets down to.
    """
    if not error > 0:
        raise ValueError(f"the error must be above 0, got {error}")
    energy = (found.vectors.T @ targets.double()).square().sum(1)
    allowed = len(energy) * error
    if energy.sum() <= allowed:
        return None
    least = energy[found.values == 0].sum().item()
    if least >= allowed:
        raise ValueError(f"this kernel gets down to {least / len(energy)}, not to {error}")
    unit = 1 / (math.sqrt(energy.sum().item() / allowed) - 1)
    low, high = found.values[0].item() * unit, found.values[-1].item() * unit
    for _ in range(HALVINGS):
        ridge = (low + high) / 2
        too_much = (energy * (ridge / (ridge + found.values)).square()).sum() > allowed
        low, high = (low, ridge) if too_much else (ridge, high)
    return high


def ridges_for_error(
    found: Spectrum, targets: Float[Tensor, "rows outputs"], error: float, rounds: int
) -> tuple[float, ...]:
    """c of every round at one training error; fewer than `rounds` where answers collapse to zero.

    Raises:
        ValueError: as `ridge_for_error`, or fewer than 1 rounds.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    ridges: list[float] = []
    for _ in range(rounds):
        ridge = ridge_for_error(found, answers(found, targets, ridges), error)
        if ridge is None:
            break
        ridges.append(ridge)
    return tuple(ridges)
