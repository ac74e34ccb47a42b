"""CC: correlations between the rows of a batch, by a kernel, beside the rows themselves.

    C_ij = k(x_i, x_j)                         x at length 1, so that |x - y|^2 = 2 - 2 x'y
    L    = |C_s - C_t|_F^2 / b^2

    bilinear    k = x'y
    gaussian    k = exp(-g |x - y|^2)
    taylor      k = exp(-2g) sum over p <= P of (2g)^p / p! (x'y)^p,
                the gaussian's first terms

A kernel of rows needs no common width. The Taylor series compares moments up to order P.

Source    Peng et al., "Correlation Congruence for Knowledge Distillation", ICCV 2019,
          arXiv:1904.01802, sections 3.2 and 3.3; g of 0.4 and P of 2 are theirs.
Left out  Batches drawn so that several rows have one class (section 3.4); that is the epoch's.
          MMD as a correlation, which is the linear kernel up to centring.
Read      vectors.py first.
"""

import math
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from reference.distillation.feature.regressors import Features
from reference.distillation.feature.vectors import flat, unit

Inner = Float[Tensor, "rows others"]  # inner products of unit vectors
Kernel = Callable[[Tensor], Tensor]


def bilinear(inner: Inner) -> Inner:
    return inner


def gaussian(inner: Inner, gamma: float = 0.4) -> Inner:
    return (-gamma * (2 - 2 * inner)).exp()


def taylor(inner: Inner, gamma: float = 0.4, order: int = 2) -> Inner:
    """
    Raises:
        ValueError: the order is below 1.
    """
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    terms = [(2 * gamma) ** p / math.factorial(p) * inner**p for p in range(1, order + 1)]
    return math.exp(-2 * gamma) * (1 + sum(terms[1:], terms[0]))


def correlation_congruence(
    student: Features,
    teacher: Features,
    kernel: Kernel = taylor,
) -> Float[Tensor, ""]:
    """
    Raises:
        ValueError: fewer than two rows, or their numbers differ.
    """
    mine, theirs = (unit(each) for each in flat(student, teacher, rows=2))
    return (kernel(mine @ mine.mT) - kernel(theirs @ theirs.mT)).square().mean()
