"""Wanda: a weight matters as much as it is large and its input is large.

    s_ij = |w_ij| |x_j|             |x_j|: the norm of input j over all tokens, sqrt(tokens G_jj)

Removed alone, weight ij changes the output by w_ij x_j, so s^2 is the squared error it makes: OBS's
cost when inputs are not correlated. Scores are compared within a row: outputs keep equally many
weights. Nothing is mended, and no matrix is inverted.

Source    Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", ICLR
          2024, arXiv:2306.11695, section 3.
Differs   Counts are exact in each row.
Left out  Their variant that searches a share of each row by the scores' sum.
Read      pruned.py first. sparsegpt.py mends; owl.py gives layers unequal shares.
"""

from jaxtyping import Float
from torch import Tensor

from reference.pruning.gradient.pruned import Pattern, PrunedLayer, rows_mask
from reference.statistics import InputStatistics, matching


def wanda_scores(
    weight: Float[Tensor, "d_out d_in"], inputs: InputStatistics
) -> Float[Tensor, "d_out d_in"]:
    """|w| |x|, in the dtype of the statistics.

    Raises:
        ValueError: a weight that does not read these inputs, or values that are not finite.
    """
    norms = (inputs.gram.diagonal() * inputs.tokens).sqrt()
    return matching(weight, inputs).abs() * norms


def wanda(
    weight: Float[Tensor, "d_out d_in"], inputs: InputStatistics, pattern: Pattern
) -> PrunedLayer:
    """Prune each row of a linear layer; what is kept stays as it is.

    Raises:
        ValueError: as `wanda_scores`, or a pattern without meaning.
    """
    mask = rows_mask(wanda_scores(weight, inputs), pattern)
    return PrunedLayer(weight * mask, mask)
