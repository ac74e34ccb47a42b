"""Magnitude: a small weight changes its output little, so it goes first.

    score(w) = |w|

That compares weights, not what they do: a layer whose inputs are large can have small weights, and
batch norm hides the scale of a layer altogether. Compared over all layers, scores follow that
scale; lamp.py takes it out.

Source    Han et al., "Learning both Weights and Connections for Efficient Neural Networks", 2015,
          arXiv:1506.02626; LeCun et al., "Optimal Brain Damage", 1989, calls it the standard.
Differs   The masks of masks.py have exact counts; Han et al. set a threshold per layer, a multiple
          of the standard deviation of its weights.
Left out  Magnitudes of groups of weights: structured/ has those of channels.
Read      masks.py and weights.py; matrices.py for masks by row, N:M or block.
"""

from collections.abc import Collection

from jaxtyping import Float
from torch import Tensor, nn

from reference.pruning.weights import prunable_weights


def magnitude(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return weight.detach().abs()


def magnitude_scores(model: nn.Module, spared: Collection[str] = ()) -> dict[str, Tensor]:
    """The magnitude of every prunable weight, by parameter name.

    Raises:
        ValueError: `spared` names no module of this model.
    """
    return {name: magnitude(each) for name, each in prunable_weights(model, spared).items()}
