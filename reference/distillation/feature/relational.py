"""RKD: distances and angles among the rows of a batch, instead of the rows.

    distance   psi(i, j) = |x_i - x_j| / mean of all such distances
    angle      psi(i, j, k) = cos of the angle at x_j between x_i and x_k
    L          the mean over distinct i, j (, k) of huber(psi_s - psi_t)

    huber(d) = d^2 / 2 within 1, |d| - 1/2 beyond

Both are blind to isometries, translations and a common scale; widths may differ. Two rows have one
distance, which is its own mean: their loss of distance is 0, whatever they are.

Rows that coincide have no direction and a distance whose derivative is not defined. Here it is 0,
where the square root of a sum of squares would give NaN.

Source    Park, Kim, Lu, Cho, "Relational Knowledge Distillation", CVPR 2019, arXiv:1904.05068,
          section 3.2; weights of 25 for distances and 50 for angles are common.
Differs   Means over distinct rows, where the authors' code counts pairs of a row with itself.
Read      vectors.py first.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from reference.distillation.feature.regressors import Features
from reference.distillation.feature.vectors import flat, off_diagonal, unit

Rows = Float[Tensor, "rows width"]


def distance_loss(student: Features, teacher: Features) -> Float[Tensor, ""]:
    """
    Raises:
        ValueError: fewer than two rows, or their numbers differ.
    """
    mine, theirs = (relative_distances(each) for each in flat(student, teacher, rows=2))
    return F.smooth_l1_loss(mine, theirs)


def angle_loss(student: Features, teacher: Features) -> Float[Tensor, ""]:
    """
    Raises:
        ValueError: fewer than three rows, or their numbers differ.
    """
    mine, theirs = (angles(each) for each in flat(student, teacher, rows=3))
    kept = _distinct(mine)
    return F.smooth_l1_loss(mine[kept], theirs[kept])


def relative_distances(rows: Rows) -> Float[Tensor, " pairs"]:
    """Of distinct rows over their mean, in the order of the matrix; zeros where all coincide."""
    # matrix products would lose small distances; the derivative at 0 is 0
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    distinct = distances[off_diagonal(distances)]
    mean = distinct.mean()
    return distinct / mean.masked_fill(mean == 0, 1)


def angles(rows: Rows) -> Float[Tensor, "rows rows rows"]:
    """The cosine of the angle at row j between rows i and k, at [j, i, k]; 0 without a direction.

    It holds rows^2 x width and rows^3 numbers.
    """
    directions = unit(rows.unsqueeze(0) - rows.unsqueeze(1))
    return directions @ directions.mT


def _distinct(cubes: Float[Tensor, "rows rows rows"]) -> Bool[Tensor, "rows rows rows"]:
    differ = off_diagonal(cubes)
    return differ.unsqueeze(0) & differ.unsqueeze(1) & differ.unsqueeze(2)
