"""Controls: is it the weights that a criterion chose, or only how many in each layer?

A mask at initialisation says two things: how dense each layer is, and which of its weights stay. If
a network trains as well with the same number of weights drawn at random in each layer, or from
other initial values, the criterion was a rule for densities and no more.

    shuffled masks            the same density in each layer, random weights (random_control.py)
    shuffled scores           the same, before a global choice: layers keep their counts
    another initialisation    the same mask, weights drawn anew

Source    Frankle et al., "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?",
          ICLR 2021, arXiv:2009.08576: SNIP, GraSP and SynFlow lose nothing by either control, and
          magnitude after training does.
Differs   Random at given densities is no control of its own: a shuffled mask is exactly that.
Left out  Inverted scores (negate them).
Read      random_control.py first.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reference.pruning.masks import Masks, Scores
from reference.pruning.random_control import shuffled_masks
from reference.pruning.weights import masked


class ShuffleReport(NamedTuple):
    """What a measure says of masks as chosen, and of each shuffle of them."""

    chosen: float
    shuffled: Sequence[float]

    @property
    def gap(self) -> float:
        """How much the choice within layers is worth, in the mean."""
        return self.chosen - sum(self.shuffled) / len(self.shuffled)


def shuffled_scores(scores: Scores, generator: torch.Generator) -> dict[str, Tensor]:
    """Each layer's scores in random order: a global choice takes as many from each layer."""
    return shuffled_masks(scores, generator)  # moves values about, of whatever kind


def reinitialised(
    masks: Masks, make: Callable[[], nn.Module], generator: torch.Generator
) -> nn.Module:
    """A new model from the same maker, with other initial weights and the same mask.

    Raises:
        ValueError: the masks do not belong to what is made.
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return masked(make(), masks)


def shuffle_report(
    masks: Masks, measure: Callable[[Masks], float], generator: torch.Generator, draws: int = 5
) -> ShuffleReport:
    """What `measure` (train and test, say) makes of the masks and of random ones as dense.

    Raises:
        ValueError: no draw.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    return ShuffleReport(
        measure(masks), [measure(shuffled_masks(masks, generator)) for _ in range(draws)]
    )
