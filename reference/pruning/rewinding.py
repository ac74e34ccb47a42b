"""Iterative pruning: prune a little, train again, and what "again" means: three answers.

    train from step 0 to T                              w_k is kept on the way
    for each sparsity of the schedule
        masks <- the weights with the lowest scores go; what is gone stays gone
        weight rewinding          w <- w_k,  train from step k to T
        learning-rate rewinding   w stays,   train from step k to T
        fine-tuning               w stays,   train from step T to T + t

`train` knows what the learning rate is at a step; past T it stays at its last. A lottery ticket is
what weight rewinding finds: masks, and weights that are bit for bit w_k where they keep. It wins if
it trains as well as the dense network, and better than the same masks on other initial weights.

Source    Han et al., 2015, arXiv:1506.02626 (fine-tuning); Frankle & Carbin, "The Lottery Ticket
          Hypothesis", ICLR 2019, arXiv:1803.03635 (k = 0); Frankle et al., "Linear Mode
          Connectivity and the Lottery Ticket Hypothesis", ICML 2020, arXiv:1912.05671 (k > 0);
          Renda et al., "Comparing Rewinding and Fine-tuning in Neural Network Pruning", ICLR 2020,
          arXiv:2003.02389 (learning-rate rewinding).
Differs   Training stops at step k to keep w_k, and goes on with a new call of `train`. Buffers
          rewind with the weights (batch norm's statistics).
Left out  One-shot rewinding searches over k.
Read      schedules.py, masked_training.py first; gradient/controls.py has `reinitialised`.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from reference.pruning.magnitude import magnitude_scores
from reference.pruning.masks import Masks, all_kept, global_masks, within
from reference.pruning.weights import apply_masks_, masked

State = dict[str, Tensor]  # a model's state dict, in memory of its own
# Trains a model in place, under masks (masked_training), from one step to another.
Train = Callable[[nn.Module, Masks, int, int], None]


@dataclass(frozen=True)
class RetrainingConfig:
    steps: int  # T, of the dense training
    kind: Literal["weights", "learning rate", "fine-tuning"] = "weights"
    rewind_to: int = 0  # k, for the two rewindings
    fine_tuning_steps: int = 0  # t, for fine-tuning

    def __post_init__(self) -> None:
        if not 0 <= self.rewind_to < self.steps:
            raise ValueError(
                f"rewind_to must be a step before the last, {self.steps}; got {self.rewind_to}"
            )
        if (self.kind == "fine-tuning") != (self.fine_tuning_steps > 0):
            raise ValueError(
                "fine-tuning, and nothing else, needs fine_tuning_steps of at least 1, got "
                f"{self.fine_tuning_steps} for {self.kind!r}"
            )

    @property
    def span(self) -> tuple[int, int]:
        """The steps of a retraining."""
        if self.kind == "fine-tuning":
            return self.steps, self.steps + self.fine_tuning_steps
        return self.rewind_to, self.steps


class Round(NamedTuple):
    masks: Masks
    state: State  # after retraining


class IterativeResult(NamedTuple):
    rewound: State  # w_k, before any mask
    dense: State  # at step T, before any mask
    rounds: list[Round]


def iterative_pruning(
    model: nn.Module,
    train: Train,
    sparsities: tuple[float, ...],
    config: RetrainingConfig,
    scores: Callable[[nn.Module], dict[str, Tensor]] = magnitude_scores,
    choose: Callable[[dict[str, Tensor], float], Masks] = global_masks,
) -> IterativeResult:
    """Train a copy, then prune and retrain it once for each sparsity.

    Args:
        sparsities: of all rounds, rising: Schedule(..., geometric).values().

    Raises:
        ValueError: no sparsities, or they fall, or are not within 0 and 1.
    """
    if not sparsities or list(sparsities) != sorted(sparsities):
        raise ValueError(f"iterative pruning needs sparsities that rise, got {sparsities}")
    net = copy.deepcopy(model)
    masks = all_kept(scores(net))
    if config.rewind_to:
        train(net, masks, 0, config.rewind_to)
    rewound = state_of(net)
    train(net, masks, config.rewind_to, config.steps)
    dense, rounds = state_of(net), []
    for sparsity in sparsities:
        masks = choose(within(scores(net), masks), sparsity)
        if config.kind == "weights":
            net.load_state_dict(rewound)
        apply_masks_(net, masks)
        train(net, masks, *config.span)
        apply_masks_(net, masks)  # a ticket is sparse even if the caller's training is not
        rounds.append(Round(masks, state_of(net)))
    return IterativeResult(rewound, dense, rounds)


def with_state(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the model with that state."""
    found = copy.deepcopy(model)
    found.load_state_dict(state)
    return found


def lottery_ticket(model: nn.Module, result: IterativeResult, number: int) -> nn.Module:
    """The network that round `number` says could have been trained from the start: w_k, masked."""
    return masked(with_state(model, result.rewound), result.rounds[number].masks)


def state_of(model: nn.Module) -> State:
    return {name: torch.clone(each.detach()) for name, each in model.state_dict().items()}
