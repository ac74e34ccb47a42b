from functools import partial

import pytest
import torch
from torch import nn
from training_runs import OPTIMIZERS, batches, net, step_, train_

from reference.pruning.gradual import gradual_pruning
from reference.pruning.magnitude import magnitude_scores
from reference.pruning.masks import layer_masks, n_m_mask, removed_count, sparsity_of
from reference.pruning.matrices import matrix_masks
from reference.pruning.schedules import Schedule, one_shot
from reference.pruning.weights import prunable_weights


def zeros(model: nn.Module) -> int:
    return sum(int((each == 0).sum()) for each in prunable_weights(model).values())


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_after_every_step_as_many_weights_are_zero_as_the_schedule_says(make):
    model, schedule = net(), Schedule(0.9, 3, begin=1, every=2)
    total = sum(each.numel() for each in prunable_weights(model).values())
    optimizer = make(list(model.parameters()))
    with gradual_pruning(model, schedule) as training:
        for step, batch in enumerate(batches()):
            assert zeros(model) == removed_count(total, schedule.at(step))
            step_(model, optimizer, batch)
    assert sparsity_of(training.masks) == pytest.approx(0.9, abs=0.5 / total)


def test_what_is_removed_once_stays_removed():
    model = net()
    optimizer = OPTIMIZERS["adamw"](list(model.parameters()))
    with gradual_pruning(model, Schedule(0.9, 8)) as training:
        for batch in batches():
            before = training.masks
            step_(model, optimizer, batch)
            assert not any((training.masks[n] & ~before[n]).any() for n in before)


def test_a_schedule_that_begins_sparse_prunes_before_the_first_step():
    model = net()
    with gradual_pruning(model, Schedule(0.5, 1, one_shot, first=0.5)) as training:
        assert sparsity_of(training.masks) == pytest.approx(0.5)


def test_weights_are_scored_as_they_are_when_the_sparsity_rises():
    model, one_round = net(), Schedule(0.5, 1, one_shot, begin=7)
    with gradual_pruning(model, one_round) as training:
        train_(model, OPTIMIZERS["sgd"](list(model.parameters())))
    alone = net()
    train_(alone, OPTIMIZERS["sgd"](list(alone.parameters())))
    kept = torch.cat([alone.get_parameter(n)[m].abs() for n, m in training.masks.items()])
    gone = torch.cat([alone.get_parameter(n)[~m].abs() for n, m in training.masks.items()])
    assert kept.min() >= gone.max()


def test_layers_and_weights_may_be_chosen_in_another_way():
    model = net()

    def by_layer(scores, sparsity):
        return layer_masks(scores, dict.fromkeys(scores, sparsity))

    only_last = partial(magnitude_scores, spared=["0"])
    with gradual_pruning(model, Schedule(0.5, 2), only_last, by_layer) as training:
        train_(model, OPTIMIZERS["nesterov"](list(model.parameters())))
    assert sparsity_of(training.masks) == 0.5
    assert model[0].weight.all()


def test_two_of_four_are_reached_through_three_of_four():
    model = net()

    def of_four(scores, sparsity):
        return matrix_masks(model, scores, partial(n_m_mask, n=4 - round(4 * sparsity), m=4))

    with gradual_pruning(model, Schedule(0.5, 2), choose=of_four) as training:
        train_(model, OPTIMIZERS["adamw"](list(model.parameters())))
    groups = model[4].weight.detach().unflatten(1, (-1, 4))
    assert ((groups != 0).sum(-1) == 2).all()
    assert training.steps == 8
