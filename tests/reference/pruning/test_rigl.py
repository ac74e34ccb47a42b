"""Claims about RigL and SET."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from training_runs import OPTIMIZERS, batches, net, step_

from reference.pruning.erk import erk_sparsities
from reference.pruning.magnitude import magnitude_scores
from reference.pruning.masked_training import masked_training
from reference.pruning.masks import layer_mask, layer_masks, removed_count
from reference.pruning.random_control import random_scores
from reference.pruning.rigl import (
    RiglSchedule,
    regrown,
    rigl_masks,
    rigl_update_,
    set_masks,
)
from reference.pruning.weights import prunable_weights

SHARE = st.floats(0, 1)
SEED = st.integers(0, 999)


def layer(seed: int, sparsity: float, ties: bool = False):
    generator = torch.Generator().manual_seed(seed)
    weight, gradient, lot = torch.randn(3, 7, 9, generator=generator)
    mask = layer_mask(lot, sparsity)
    if ties:
        weight, gradient = weight.round(), gradient.round()
    return weight * mask, mask, gradient.abs()


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(SEED, SHARE, SHARE, st.booleans())
def test_as_many_weights_are_kept_as_before(seed, sparsity, share, ties):
    weight, mask, wanted = layer(seed, sparsity, ties)
    assert regrown(weight, mask, wanted, share).sum() == mask.sum()


@given(SEED, SHARE, SHARE)
def test_the_lowest_are_dropped_and_the_most_wanted_of_the_rest_grown(seed, sparsity, share):
    weight, mask, wanted = layer(seed, sparsity)
    moving = removed_count(int(mask.sum()), share)
    found = regrown(weight, mask, wanted, share)
    by_size = [i for i in weight.abs().flatten().argsort().tolist() if mask.flatten()[i]]
    stays = set(by_size[moving:])
    others = [i for i in wanted.flatten().argsort(descending=True).tolist() if i not in stays]
    expected = stays | set(others[:moving])
    assert set(found.flatten().nonzero().flatten().tolist()) == expected


@given(SEED, SHARE)
def test_a_share_of_0_moves_nothing(seed, sparsity):
    weight, mask, wanted = layer(seed, sparsity)
    assert torch.equal(regrown(weight, mask, wanted, 0.0), mask)


@given(SEED, SHARE)
def test_a_share_of_1_is_a_layer_of_the_most_wanted(seed, sparsity):
    weight, mask, wanted = layer(seed, sparsity)
    kept = int(mask.sum())
    expected = torch.zeros_like(mask).flatten()
    expected[wanted.flatten().argsort(descending=True)[:kept]] = True
    assert torch.equal(regrown(weight, mask, wanted, 1.0), expected.reshape(mask.shape))


def test_what_is_dropped_and_wanted_most_stays():
    weight, mask = torch.tensor([0.1, 2.0, 0.0]), torch.tensor([True, True, False])
    assert regrown(weight, mask, torch.tensor([9.0, 0.0, 1.0]), 0.5).tolist() == [True, True, False]
    assert regrown(weight, mask, torch.tensor([1.0, 0.0, 9.0]), 0.5).tolist() == [False, True, True]


def test_set_grows_everywhere_alike():
    weight, mask, _ = layer(0, 0.5)
    low = mask & (weight.abs() <= weight.abs()[mask].median())  # the dropped half, and no other
    candidates, generator = ~mask | low, drawn()
    draws = 300
    grown = sum(
        set_masks({"a": weight}, {"a": mask}, 0.5, generator)["a"].int() for _ in range(draws)
    )
    share = removed_count(int(mask.sum()), 0.5) / int(candidates.sum())
    spread = math.sqrt(draws * share * (1 - share))
    assert (grown[~candidates] == draws).all()
    assert ((grown[candidates] - draws * share).abs() < 5 * spread).all()


def test_a_seed_of_set_is_a_mask():
    weights, masks = {"a": layer(0, 0.5)[0]}, {"a": layer(0, 0.5)[1]}
    one, again = (set_masks(weights, masks, 0.5, drawn())["a"] for _ in range(2))
    assert torch.equal(one, again)


def test_the_share_falls_along_half_a_cosine():
    schedule = RiglSchedule(end=100, every=10, share=0.3)
    shares = [schedule.share_at(step) for step in range(120)]
    assert shares[0] == 0.3
    assert shares[50] == pytest.approx(0.15)
    assert shares[100:] == [0.0] * 20
    assert shares == sorted(shares, reverse=True)
    assert [step for step in range(120) if schedule.moves_at(step)] == list(range(0, 100, 10))


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training_keeps_every_layer_s_count_and_grows_from_zero(make):
    model = net()
    weights = prunable_weights(model)
    sparsities = erk_sparsities(weights, 0.7)
    masks = layer_masks(random_scores(model, drawn()), sparsities)
    counts = {name: int(mask.sum()) for name, mask in masks.items()}
    schedule, optimizer = RiglSchedule(end=7, every=2), make(list(model.parameters()))
    moved = 0
    with masked_training(model, masks) as training:
        for step, batch in enumerate(batches()):
            if not schedule.moves_at(step):
                step_(model, optimizer, batch)
                continue
            before = training.masks
            rigl_update_(training, lambda b=batch: loss(model, b), schedule.share_at(step))
            for name, mask in training.masks.items():
                grown = mask & ~before[name]
                moved += int(grown.sum())
                assert int(mask.sum()) == counts[name]
                assert not weights[name][grown].any()
                assert not weights[name][~mask].any()
                if training.steps:  # before it, there is nothing to forget
                    assert not any(each[grown].any() for each in memory(optimizer, weights[name]))
        assert moved
    assert {name: int((each != 0).sum()) for name, each in weights.items()} == counts


def memory(optimizer: torch.optim.Optimizer, weight: torch.Tensor) -> list[torch.Tensor]:
    kept = optimizer.state[weight].values()
    return [each for each in kept if each is not None and each.shape == weight.shape]


def loss(model: nn.Module, batch) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def test_an_update_follows_the_dense_gradient_of_its_batch():
    model = net().eval()
    masks = layer_masks(magnitude_scores(model), {"0.weight": 0.5, "4.weight": 0.5})
    batch = batches()[0]
    with masked_training(model, masks) as training:
        weights = prunable_weights(model)
        gradients = torch.autograd.grad(loss(model, batch), list(weights.values()))
        named = dict(zip(weights, gradients, strict=True))
        expected = rigl_masks(weights, named, masks, 0.3)
        rigl_update_(training, lambda: loss(model, batch), 0.3)
        assert all(torch.equal(training.masks[name], expected[name]) for name in masks)
        assert all(each.grad is None for each in model.parameters())


def test_the_most_wanted_removed_weight_lowers_the_loss_fastest():
    """The reason for growing by gradient, by finite differences in float64."""
    model = net().double().eval()
    masks = layer_masks(magnitude_scores(model), {"0.weight": 0.0, "4.weight": 0.9})
    images, labels = batches()[0]
    batch = (images.double(), labels)
    with masked_training(model, masks):
        weight = model[4].weight
        gradient = torch.autograd.grad(loss(model, batch), weight)[0]
        start, falls = loss(model, batch).item(), {}
        for place in (~masks["4.weight"]).nonzero().tolist():
            with torch.no_grad():
                weight[tuple(place)] = -1e-6 * gradient[tuple(place)].sign()
                falls[tuple(place)] = start - loss(model, batch).item()
                weight[tuple(place)] = 0
    wanted = gradient.abs().masked_fill(masks["4.weight"], -1)
    best = divmod(int(wanted.argmax()), 36)
    assert max(falls, key=falls.__getitem__) == best


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: RiglSchedule(0), "end=0"),
        (lambda: RiglSchedule(1, 0), "every=0"),
        (lambda: RiglSchedule(1, 1, 1.5), "within 0 and 1, got 1.5"),
        (lambda: regrown(*layer(0, 0.5), 1.5), "within 0 and 1, got 1.5"),
        (
            lambda: regrown(torch.ones(1), torch.ones(1).bool(), torch.tensor([math.nan]), 0.5),
            "inf or nan",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
