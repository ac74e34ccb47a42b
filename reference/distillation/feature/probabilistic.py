"""PKT: who is near whom, as a distribution over the other rows of a batch.

    K_ij   = (1 + cos(x_i, x_j)) / 2               within 0 and 1
    p_j|i  = K_ij / sum over k != i of K_ik        of the teacher; q of the student
    L      = mean_i sum over j != i of p_j|i log(p_j|i / q_j|i)

Widths may differ, and the scale of a row does not matter. Two rows have one neighbour each, at
probability 1: their loss is 0, whatever they are.

Source    Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer",
          ECCV 2018, arXiv:1803.10837, section 3.
Differs   A row is not its own neighbour, as in the paper; the authors' code counts it. Kernels are
          kept above 1e-7, so that opposite rows have a finite loss.
Left out  The Gaussian kernel, whose width has to be chosen; supervised transfer.
Read      vectors.py first.
"""

from jaxtyping import Float
from torch import Tensor

from reference.distillation.feature.regressors import Features
from reference.distillation.feature.vectors import flat, off_diagonal, unit

SMALLEST = 1e-7  # about float32's resolution of 1 + cos


def neighbours(features: Float[Tensor, "rows width"]) -> Float[Tensor, "rows rows"]:
    """p_j|i in row i and column j; 0 on the diagonal, rows sum to 1."""
    directions = unit(features)
    kernel = ((1 + directions @ directions.mT) / 2).clamp(min=SMALLEST)
    kernel = kernel.masked_fill(~off_diagonal(kernel), 0)
    return kernel / kernel.sum(1, keepdim=True)


def knowledge_transfer(student: Features, teacher: Features) -> Float[Tensor, ""]:
    """
    Raises:
        ValueError: fewer than two rows, or their numbers differ.
    """
    mine, theirs = (neighbours(each) for each in flat(student, teacher, rows=2))
    others = off_diagonal(mine)
    p, q = theirs[others], mine[others]
    return (p * (p / q).log()).sum() / len(mine)
