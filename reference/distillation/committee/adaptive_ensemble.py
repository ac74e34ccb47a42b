"""AE-KD: weights of teachers that pull the student where all of them agree it should go.

    min over a of 1/2 |sum_k a_k g_k|^2      sum_k a_k = 1,  0 <= a_k <= C,  1/K <= C <= 1
    g_k = d L_k / d z                        L_k what teacher k alone would make of the batch
    L   = sum_k a_k L_k                      a held fixed

With C = 1 the combination is the shortest vector of the convex hull: a step against it lowers every
L_k, or there is none that does. That lets the one teacher decide whose gradient is short; a smaller
C gives more weight to the majority, and C = 1/K is the plain mean.

The programme is solved exactly: at its solution each weight is 0, C or free, and the free ones
solve a linear system. All such patterns are tried, at most 3^K. Of several solutions (teachers that
say the same) the one with the smallest |a| is taken: it is unique, so that weights do not depend on
the order of teachers.

Source    Du et al., "Agree to Disagree: Adaptive Ensemble Knowledge Distillation in Gradient
          Space", NeurIPS 2020; C of 1: Desideri, "Multiple-gradient descent algorithm
          (MGDA) for multiobjective optimization", 2012.
Differs   Gradients in the space of all logits of the batch, without scaling. The authors' code
          averages them over rows first and can scale each to length 1; it uses a one-class SVM.
Left out  The same for features; gradients by parameter.
Read      weighted.py first.
"""

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from reference.distillation.committee.weighted import Voices, Weights

MOST_TEACHERS = 6  # at most 729 patterns, and a few hundredths of a second for each batch
NONE, MOST, FREE = range(3)  # what a weight is at the solution
ROUNDING = 1e-9  # relative to the longest gradient, of float64 linear systems as small as these


def agreeing(temperature: float, most: float = 1.0) -> Weights:
    """Weights for `WeightedTeachers` of that temperature; one for a whole batch.

    Raises:
        ValueError: when called, as `agreeing_weights`.
    """

    def weights(voices: Voices) -> Float[Tensor, "teachers _"]:
        q, p = (
            (voices.student / temperature).softmax(-1),
            (voices.teachers / temperature).softmax(-1),
        )
        found = agreeing_weights((q - p).detach().flatten(1), most)  # g but for a common factor
        return found.to(q.dtype).unsqueeze(1)

    return weights


def agreeing_weights(
    gradients: Float[Tensor, "teachers values"], most: float = 1.0
) -> Float[Tensor, " teachers"]:
    """a, in float64.

    Args:
        most: C, the largest weight of a teacher.

    Raises:
        ValueError: C is not within 1/K and 1, there are too many teachers, or a gradient is not
            finite.
    """
    teachers = len(gradients)
    if not 1 <= teachers <= MOST_TEACHERS:
        raise ValueError(f"expected 1 to {MOST_TEACHERS} teachers, got {teachers}")
    if not 1 / teachers <= most <= 1:
        raise ValueError(f"most must be within 1/{teachers} and 1, got {most}")
    if not gradients.isfinite().all():
        raise ValueError("a gradient holds inf or nan")
    gram = gradients.double() @ gradients.double().T
    scale = gram.diagonal().max()
    if scale == 0:  # whatever the weights
        return torch.full((teachers,), 1 / teachers, dtype=torch.float64)
    found = _feasible(gram / scale, most)
    lengths = torch.einsum("pk,kl,pl->p", found, gram / scale, found)
    shortest = found[lengths <= lengths.min() + ROUNDING]
    return shortest[shortest.square().sum(1).argmin()]


def _feasible(gram: Tensor, most: float) -> Tensor:
    """(patterns, teachers): the best point of each pattern whose best point is allowed."""
    patterns = product((NONE, MOST, FREE), repeat=len(gram))
    points = [_best_of(gram, most, p) for p in patterns if p.count(MOST) * most < 1 + ROUNDING]
    found = torch.stack([point for point in points if point is not None])
    allowed = (found > -ROUNDING).all(1) & (found < most + ROUNDING).all(1)
    found = found[allowed].clamp(0, most)
    return found / found.sum(1, keepdim=True)


def _best_of(gram: Tensor, most: float, pattern: tuple[int, ...]) -> Tensor | None:
    """The free weights beside those that are fixed; None where those alone do not add up to 1."""
    kinds = torch.tensor(pattern)
    point = most * (kinds == MOST).to(gram.dtype)
    free, left = (kinds == FREE).nonzero().flatten(), 1 - point.sum()
    if not len(free):
        return point if left.abs() < ROUNDING else None
    inside = gram[free][:, free]
    start = (left / len(free)).expand(len(free))
    # Directions that leave the sum as it is: the mean is taken out of each coordinate.
    level = torch.eye(len(free), dtype=gram.dtype) - 1 / len(free)
    slope = level @ (inside @ start + gram[free] @ point)
    back = torch.linalg.pinv(level @ inside @ level, hermitian=True, rtol=ROUNDING) @ slope
    point[free] = start - level @ back
    return point
