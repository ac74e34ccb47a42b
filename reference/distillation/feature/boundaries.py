"""AB: which neurons are active, before the ReLU, with a margin.

    r = 1 where t > 0, else 0
    L = mean over entries of [r relu(m - s)^2 + (1 - r) relu(m + s)^2]

Where a neuron begins to be active are the borders that a network cuts its input with; how active it
is does not matter. A student is done where it is beyond m on the teacher's side of zero. The
margin gives a gradient to neurons on the wrong side, and to those that barely stand on the right.

Source    Heo, Lee, Yun, Choi, "Knowledge Transfer via Distillation of Activation Boundaries Formed
          by Hidden Neurons", AAAI 2019, arXiv:1811.03233, section 3.
Differs   The mean over entries, where the paper has a sum.
Read      pairs.py; taps must be before the ReLU. hints.py trains in two stages, as the paper does.
"""

from jaxtyping import Float
from torch import Tensor

from reference.distillation.feature.regressors import Features, same_shape


def boundary_loss(student: Features, teacher: Features, margin: float = 1.0) -> Float[Tensor, ""]:
    """
    Raises:
        ValueError: the margin is negative, or shapes differ in more than height and width.
    """
    if margin < 0:
        raise ValueError(f"a margin must be at least 0, got {margin}")
    mine, theirs = same_shape(student, teacher)
    toward = (theirs > 0).to(mine.dtype) * 2 - 1
    return (margin - toward * mine).relu().square().mean()
