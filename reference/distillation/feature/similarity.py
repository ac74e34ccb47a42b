"""SP: a pair of rows that excites the teacher alike shall excite the student alike.

    G   = Q Q'                          Q: features of a batch, one row each; G is rows x rows
    G~_i = G_i / |G_i|_2                each row of G at length 1
    L   = |G~_s - G~_t|_F^2 / b^2

Widths and sizes of maps may differ. Rotations and a common scale of all features do not matter; a
translation does, as inner products know where zero is. One row is always like itself: refused.

Source    Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019,
          arXiv:1907.09682, section 3.1.
Read      vectors.py first.
"""

from jaxtyping import Float
from torch import Tensor

from reference.distillation.feature.regressors import Features
from reference.distillation.feature.vectors import flat, unit


def similarities(features: Float[Tensor, "rows width"]) -> Float[Tensor, "rows rows"]:
    return unit(features @ features.mT)


def similarity_preserving(student: Features, teacher: Features) -> Float[Tensor, ""]:
    """
    Raises:
        ValueError: fewer than two rows, or their numbers differ.
    """
    mine, theirs = (similarities(each) for each in flat(student, teacher, rows=2))
    return (mine - theirs).square().mean()
