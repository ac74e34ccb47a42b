"""Gradual pruning: the network trains, and every so many steps it has fewer weights to train with.

    after step t    masks <- choose(scores of the weights as they are now, s_t)
                    what was removed before stays removed

Source    Zhu & Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model
          compression", 2017, arXiv:1710.01878, section 3 (AGP; cubic s_t of schedules.py); Gale et
          al., 2019, arXiv:1902.09574 (the same over all layers together).
Differs   Zhu & Gupta let a removed weight return while the sparsity is still rising.
Read      schedules.py, masked_training.py first.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from reference.pruning.magnitude import magnitude_scores
from reference.pruning.masked_training import MaskedTraining, masked_training
from reference.pruning.masks import Masks, all_kept, global_masks, within
from reference.pruning.schedules import Schedule


@contextmanager
def gradual_pruning(
    model: nn.Module,
    schedule: Schedule,
    scores: Callable[[nn.Module], dict[str, Tensor]] = magnitude_scores,
    choose: Callable[[dict[str, Tensor], float], Masks] = global_masks,
) -> Iterator[MaskedTraining]:
    """Inside, every step of the model's optimizer moves the sparsity along the schedule.

    Args:
        scores: of the weights to prune, taken anew whenever the sparsity rises.
        choose: scores and a sparsity to masks.

    Raises:
        ValueError: the scores are not for weights of this model.
    """
    reached = 0.0

    def prune_(training: MaskedTraining) -> None:
        nonlocal reached
        sparsity = schedule.at(training.steps)
        if sparsity > reached:
            reached = sparsity
            training.set_masks_(choose(within(scores(model), training.masks), sparsity))

    with masked_training(model, all_kept(scores(model)), prune_) as training:
        prune_(training)
        yield training
