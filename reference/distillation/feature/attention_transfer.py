"""Attention transfer: where a network looks, not what it sees there.

    Q = vec(mean_c |A_c|^p) / norm          one number for each place of a map, at length 1
    L = mean over rows of |Q_s - Q_t|_2     from 0 to 2, and at most sqrt 2 as no entry is negative

The mean over channels makes any two widths comparable, without a regressor. Their order is lost,
and so is the scale of each row: a student with other channels that looks at the same places is
done. p of 2 or more gives the strongest channel more say.

Source    Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017,
          arXiv:1612.03928, section 3.1.
Differs   The norm of the paper's equation 2; the authors' code takes the mean of squares. A map of
          zeros has no direction, and stays zero.
Left out  Attention of gradients (section 3.2), which needs a second derivative.
Read      pairs.py first.
"""

from jaxtyping import Float
from torch import Tensor
from torch.linalg import vector_norm

from reference.distillation.feature.regressors import same_size
from reference.distillation.feature.vectors import unit

Maps = Float[Tensor, "rows channels height width"]


def attention(maps: Maps, power: float = 2.0) -> Float[Tensor, "rows places"]:
    """Where each row looks, at length 1.

    Raises:
        ValueError: the power is below 1.
    """
    if power < 1:
        raise ValueError(f"power must be at least 1, got {power}")
    return unit(maps.abs().pow(power).mean(1).flatten(1))


def attention_transfer(
    student: Maps, teacher: Float[Tensor, "_ _ _ _"], power: float = 2.0
) -> Float[Tensor, ""]:
    """
    Raises:
        ValueError: the numbers of rows differ, or the power is below 1.
    """
    mine, theirs = same_size(student, teacher)
    return vector_norm(attention(mine, power) - attention(theirs, power), dim=1).mean()
