"""Claims about iterative pruning, bit for bit, with a training of a few steps."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training_runs import batches, net

from reference.pruning.gradient.controls import reinitialised
from reference.pruning.magnitude import magnitude_scores
from reference.pruning.masked_training import masked_training
from reference.pruning.masks import global_masks, layer_masks, removed_count, within
from reference.pruning.random_control import random_scores
from reference.pruning.rewinding import (
    RetrainingConfig,
    iterative_pruning,
    lottery_ticket,
    state_of,
    with_state,
)
from reference.pruning.schedules import Schedule, geometric
from reference.pruning.weights import prunable_weights

STEPS = 6
SPARSITIES = Schedule(0.75, 3, geometric).values()


class Recorded:
    """Nesterov under masks; the rate falls by 0.02 at each step to 0.02, and stays."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.starts: list[dict[str, torch.Tensor]] = []

    def __call__(self, model: nn.Module, masks, start: int, stop: int) -> None:
        self.spans.append((start, stop))
        self.starts.append(state_of(model))
        optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=0.1, nesterov=True)
        with masked_training(model, masks):
            for step in range(start, stop):
                optimizer.param_groups[0]["lr"] = max(0.02, 0.12 - 0.02 * step)
                images, labels = batches()[step % 8]
                optimizer.zero_grad()
                F.cross_entropy(model(images), labels).backward()
                optimizer.step()


def equal(one, other) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


KINDS = [
    RetrainingConfig(STEPS),
    RetrainingConfig(STEPS, rewind_to=2),
    RetrainingConfig(STEPS, "learning rate", rewind_to=2),
    RetrainingConfig(STEPS, "fine-tuning", fine_tuning_steps=3),
]
every_kind = pytest.mark.parametrize("config", KINDS, ids=str)


@every_kind
def test_each_round_meets_its_sparsity_and_brings_nothing_back(config):
    model = net()
    total = sum(each.numel() for each in prunable_weights(model).values())
    result = iterative_pruning(model, Recorded(), SPARSITIES, config)
    before = None
    for sparsity, (masks, state) in zip(SPARSITIES, result.rounds, strict=True):
        assert sum(int((~mask).sum()) for mask in masks.values()) == removed_count(total, sparsity)
        assert not any(state[name][~mask].any() for name, mask in masks.items())
        assert before is None or not any((masks[n] & ~before[n]).any() for n in masks)
        before = masks


@every_kind
def test_each_round_is_chosen_by_what_training_left(config):
    model = net()
    result = iterative_pruning(model, Recorded(), SPARSITIES, config)
    state, masks = result.dense, None
    for sparsity, found in zip(SPARSITIES, result.rounds, strict=True):
        scores = magnitude_scores(with_state(model, state))
        expected = global_masks(scores if masks is None else within(scores, masks), sparsity)
        assert equal(found.masks, expected)
        state, masks = found.state, found.masks


@pytest.mark.parametrize("k", [0, 2, 5])
def test_a_ticket_is_the_weights_of_step_k_under_its_masks(k):
    model, train = net(), Recorded()
    result = iterative_pruning(model, train, SPARSITIES, RetrainingConfig(STEPS, rewind_to=k))
    at_k = net()
    if k:
        Recorded()(at_k, {}, 0, k)
    assert equal(result.rewound, at_k.state_dict())
    for number, found in enumerate(result.rounds):
        ticket = lottery_ticket(model, result, number).state_dict()
        for name, value in at_k.state_dict().items():
            mask = found.masks.get(name, torch.ones((), dtype=torch.bool))
            assert torch.equal(ticket[name], torch.where(mask, value, torch.zeros_like(value)))
        assert equal(train.starts[-3 + number], ticket)  # and retraining began with it


def test_a_ticket_trained_by_itself_is_the_network_of_its_round():
    model = net()
    result = iterative_pruning(model, Recorded(), SPARSITIES, RetrainingConfig(STEPS, rewind_to=2))
    ticket = lottery_ticket(model, result, 1)
    Recorded()(ticket, result.rounds[1].masks, 2, STEPS)
    assert equal(ticket.state_dict(), result.rounds[1].state)


@pytest.mark.parametrize("config", KINDS[2:], ids=str)
def test_without_weight_rewinding_training_goes_on_from_the_trained_weights(config):
    model, train = net(), Recorded()
    result = iterative_pruning(model, train, SPARSITIES, config)
    left = [result.dense, *(each.state for each in result.rounds)]
    for start, state, found in zip(train.starts[-3:], left[:-1], result.rounds, strict=True):
        for name, value in start.items():
            kept = found.masks.get(name, torch.ones((), dtype=torch.bool))
            assert torch.equal(value, torch.where(kept, state[name], torch.zeros_like(value)))


@pytest.mark.parametrize(
    ("config", "spans"),
    [
        (KINDS[0], [(0, 6)] + [(0, 6)] * 3),
        (KINDS[1], [(0, 2), (2, 6)] + [(2, 6)] * 3),
        (KINDS[2], [(0, 2), (2, 6)] + [(2, 6)] * 3),
        (KINDS[3], [(0, 6)] + [(6, 9)] * 3),
    ],
    ids=str,
)
def test_each_answer_trains_its_own_steps(config, spans):
    train = Recorded()
    iterative_pruning(net(), train, SPARSITIES, config)
    assert train.spans == spans


def test_weight_and_learning_rate_rewinding_differ_in_the_weights_alone():
    weights, rate = (
        iterative_pruning(net(), Recorded(), SPARSITIES[:1], config) for config in KINDS[1:3]
    )
    assert equal(weights.rounds[0].masks, rate.rounds[0].masks)
    assert not equal(weights.rounds[0].state, rate.rounds[0].state)


def test_the_model_stays_as_it_was():
    model = net()
    before, mode = state_of(model), [each.training for each in model.modules()]
    result = iterative_pruning(model, Recorded(), SPARSITIES, KINDS[0])
    lottery_ticket(model, result, 2)
    assert equal(before, model.state_dict())
    assert mode == [each.training for each in model.modules()]
    assert equal(result.rewound, before)


def test_a_new_call_finds_the_same():
    one, again = (iterative_pruning(net(), Recorded(), SPARSITIES, KINDS[1]) for _ in range(2))
    assert equal(one.rounds[2].state, again.rounds[2].state)


def test_a_loop_without_masks_still_gives_sparse_tickets():
    def forgetful(model, masks, start, stop) -> None:
        Recorded()(model, {}, start, stop)

    result = iterative_pruning(net(), forgetful, SPARSITIES, KINDS[0])
    for masks, state in result.rounds:
        assert not any(state[name][~mask].any() for name, mask in masks.items())


def test_the_control_has_the_ticket_s_masks_and_none_of_its_weights():
    result = iterative_pruning(net(), Recorded(), SPARSITIES, KINDS[0])
    masks = result.rounds[2].masks
    control = reinitialised(masks, net_drawn, torch.Generator().manual_seed(1))
    for name, mask in masks.items():
        weight = control.get_parameter(name)
        assert torch.equal(weight != 0, mask)
        assert not (weight == result.rewound[name])[mask].any()


def net_drawn() -> nn.Sequential:
    """As net(), from the seed that is set."""
    return net(int(torch.randint(10**6, ())))


def test_scores_and_choice_may_be_others():
    def by_layer(scores, sparsity):
        return layer_masks(scores, dict.fromkeys(scores, sparsity))

    scores = partial(random_scores, generator=torch.Generator().manual_seed(0))
    result = iterative_pruning(net(), Recorded(), (0.5, 0.75), KINDS[0], scores, by_layer)
    for sparsity, found in zip((0.5, 0.75), result.rounds, strict=True):
        for mask in found.masks.values():
            assert int((~mask).sum()) == removed_count(mask.numel(), sparsity)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: RetrainingConfig(6, rewind_to=6), "before the last, 6; got 6"),
        (lambda: RetrainingConfig(6, rewind_to=-1), "got -1"),
        (lambda: RetrainingConfig(6, "fine-tuning"), "at least 1, got 0 for 'fine-tuning'"),
        (lambda: RetrainingConfig(6, fine_tuning_steps=3), "got 3 for 'weights'"),
        (lambda: iterative_pruning(net(), Recorded(), (), KINDS[0]), r"that rise, got \(\)"),
        (lambda: iterative_pruning(net(), Recorded(), (0.5, 0.2), KINDS[0]), "that rise"),
    ],
)
def test_what_has_no_meaning_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
