"""Claims about movement pruning. 1e-12 is float64's over a sum of a dozen products."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call
from training_runs import batches, net, step_, train_
from transformers.pytorch_utils import Conv1D

from reference.pruning.masks import layer_mask, layer_masks, removed_count
from reference.pruning.movement import (
    hard,
    moved,
    movement_masks,
    movement_scores,
    movements,
    score_penalty,
    set_choice_,
    soft,
    with_movement,
    without_movement,
)
from reference.pruning.schedules import Schedule
from reference.pruning.weights import masked, prunable_weights


def double_batches():
    return [(images.double(), labels) for images, labels in batches()]


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in model.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@given(st.integers(0, 99), st.floats(0, 1))
def test_gradients_pass_the_mask_as_the_equations_say(seed, sparsity):
    generator = torch.Generator().manual_seed(seed)
    weight, scores, arriving = torch.randn(3, 4, 5, generator=generator)
    weight.requires_grad_()
    scores.requires_grad_()
    mask = layer_mask(scores.detach(), sparsity)
    result = moved(weight, scores, mask)
    result.backward(arriving)
    assert torch.equal(result, weight * mask)
    assert torch.equal(weight.grad, arriving * mask)
    assert torch.equal(scores.grad, arriving * weight)


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_scores_are_minus_the_sum_of_weight_times_gradient(sparsity):
    """The identity of section 4, against gradients taken without scores."""
    rate, plain = 0.1, net().double()
    model = with_movement(plain, hard(sparsity))
    optimizer = torch.optim.SGD(model.parameters(), rate)
    expected = {name: torch.zeros_like(each) for name, each in prunable_weights(plain).items()}
    for batch in double_batches():
        read = without_movement(model)
        weights = {n: p.detach().requires_grad_() for n, p in prunable_weights(read).items()}
        loss = F.cross_entropy(functional_call(read, weights, (batch[0],)), batch[1])
        for name, gradient in zip(
            weights, torch.autograd.grad(loss, list(weights.values())), strict=True
        ):
            hidden = model.get_submodule(name.removesuffix(".weight")).parametrizations.weight
            expected[name] -= rate * gradient * hidden.original.detach()
        step_(model, optimizer, batch)
    for name, scores in movement_scores(model).items():
        assert scores.any()
        assert torch.allclose(scores, expected[name], rtol=1e-12, atol=1e-12)


def test_a_score_rises_exactly_while_its_weight_moves_away_from_zero():
    model = with_movement(net().double())
    layer = model[4].parametrizations.weight
    before = layer.original.detach().clone()
    step_(model, torch.optim.SGD(model.parameters(), 1e-4), double_batches()[0])
    grew = layer.original.abs() - before.abs()
    assert torch.equal(layer[0].scores.detach().sign(), grew.detach().sign())


def test_a_large_weight_that_shrinks_goes_before_a_small_one_that_grows():
    """A regression onto (0, 1) from weights (2, 0.1): magnitude would keep the wrong one."""
    layer = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 0.1]]))
    model = with_movement(layer)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(5):
        optimizer.zero_grad()
        (model.weight - torch.tensor([[0.0, 1.0]]).double()).square().sum().backward()
        optimizer.step()
    assert model.weight[0, 0] > model.weight[0, 1]
    masks = layer_masks(movement_scores(model), {"weight": 0.5})
    assert masks["weight"].tolist() == [[False, True]]


def test_every_layer_computes_with_as_many_weights_as_the_schedule_says():
    model, schedule = with_movement(net()), Schedule(0.9, 4)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    for step, batch in enumerate(batches()):
        set_choice_(model, hard(schedule.at(step)))
        step_(model, optimizer, batch)
        for mask in movement_masks(model).values():
            assert int((~mask).sum()) == removed_count(mask.numel(), schedule.at(step))


def test_a_removed_weight_can_come_back_with_the_value_it_had():
    model = with_movement(net(), hard(0.5))
    scores = movements(model)["4.weight"].scores
    before, hidden = model[4].weight.clone(), model[4].parametrizations.weight.original
    with torch.no_grad():
        scores.copy_(-scores + torch.arange(scores.numel()).reshape(scores.shape).flip(0, 1))
    assert not torch.equal(model[4].weight == 0, before == 0)
    assert torch.equal(model[4].weight, hidden * movement_masks(model)["4.weight"])


@given(st.floats(0.01, 0.99), st.integers(0, 99))
def test_soft_keeps_what_has_a_sigmoid_above_the_threshold(threshold, seed):
    scores = 3 * torch.randn(200, generator=torch.Generator().manual_seed(seed)).double()
    assert torch.equal(soft(threshold)(scores), scores.sigmoid() > threshold)


def test_soft_scores_begin_by_keeping_everything():
    model = with_movement(net(), soft(0.1))
    assert all(mask.all() for mask in movement_masks(model).values())
    assert score_penalty(model).item() == 0.5


def test_the_penalty_is_the_mean_sigmoid_and_pulls_every_score_down():
    model = with_movement(net(), soft(0.1))
    for each in movements(model).values():
        nn.init.normal_(each.scores)
    every = torch.cat([each.flatten() for each in movement_scores(model).values()])
    penalty = score_penalty(model)
    penalty.backward()
    slope = every.sigmoid() * (1 - every.sigmoid()) / every.numel()
    gradient = torch.cat([each.scores.grad.flatten() for each in movements(model).values()])
    assert torch.allclose(penalty, every.sigmoid().mean())
    assert torch.allclose(gradient, slope)


def test_more_penalty_removes_more():
    removed = []
    for strength in (0.0, 12.0, 50.0):
        model = with_movement(net(), soft(0.49))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for images, labels in batches() * 3:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels) + strength * score_penalty(model)
            loss.backward()
            optimizer.step()
        removed.append(sum(int((~mask).sum()) for mask in movement_masks(model).values()))
    assert removed[0] < removed[1] < removed[2]


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 1.0])
def test_scores_leave_without_a_trace(sparsity):
    model = net()
    before = state_of(model)
    scored = with_movement(model, hard(sparsity))
    back = without_movement(scored)
    assert equal(state_of(model), before)
    assert equal(state_of(back), state_of(masked(model, movement_masks(scored))))
    assert type(back[4]) is nn.Linear
    assert movements(scored)  # which is left as it was
    images = batches()[0][0]
    assert torch.equal(back.eval()(images), scored.eval()(images))


def test_a_trained_model_and_its_plain_copy_are_one_function():
    model = with_movement(net(), hard(0.7))
    train_(model, torch.optim.AdamW(model.parameters(), 0.01))
    images = batches()[0][0]
    assert torch.equal(without_movement(model).eval()(images), model.eval()(images))


def test_a_copy_of_a_model_with_scores_is_scored_by_itself():
    model = with_movement(net())
    other = copy.deepcopy(model)
    nn.init.ones_(movements(other)["4.weight"].scores)
    assert not movements(model)["4.weight"].scores.any()


def test_a_spared_layer_and_a_transposed_one():
    model = nn.Sequential(Conv1D(4, 6), nn.Linear(4, 2))
    assert list(movement_scores(with_movement(model, spared=["1"]))) == ["0.weight"]


def test_a_single_layer_is_a_model():
    assert list(movement_scores(with_movement(nn.Linear(3, 2)))) == ["weight"]


def test_a_weight_of_two_layers_is_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    with pytest.raises(ValueError, match=r"0\.weight and 1\.weight are one weight"):
        with_movement(model)


def test_a_weight_that_has_scores_already_is_refused():
    with pytest.raises(ValueError, match="layer '0' has a parametrization"):
        with_movement(with_movement(net()))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: movements(net()), "Sequential has no scores"),
        (lambda: soft(1.0), r"between 0 and 1, got 1\.0"),
        (lambda: with_movement(net(), hard(1.5))(batches()[0][0]), r"within 0 and 1, got 1\.5"),
    ],
)
def test_what_has_no_meaning_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
