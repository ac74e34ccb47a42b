"""Claims about channels that go little by little."""

import itertools
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import BLOCKS, conv, images, network
from torch import nn

from labkit.models import ResNetSpec, build
from reference.pruning.schedules import Schedule, cubic, linear
from reference.pruning.structured.channels import by_group, overall
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.importance import filter_norms, norm_scales
from reference.pruning.structured.iterative import iterative_removal
from reference.pruning.structured.remove import remove

some_blocks = st.lists(st.sampled_from(sorted(set(BLOCKS) - {"grouped"})), min_size=1, max_size=2)


def nothing(model):
    """No training."""


def close(one, other):
    return torch.allclose(one, other, rtol=1e-9, atol=1e-9)  # float64, some hundred products


def units(masks):
    return {name: int(mask.sum()) for name, mask in masks.items()}


@settings(max_examples=20)
@given(some_blocks, st.integers(1, 6), st.sampled_from([linear, cubic]), st.floats(0, 0.95))
@pytest.mark.parametrize("choose", [by_group, overall])
def test_many_rounds_remove_as_many_as_one(choose, blocks, rounds, curve, last):
    model, x = network(["conv", *blocks], "mean"), images()
    ratios = Schedule(last, rounds, curve).values()
    found = iterative_removal(model, x, ratios, filter_norms, nothing, choose)
    graph = dependency_graph(model, x)
    at_once = choose(graph, filter_norms(model, graph), last)
    if choose is by_group:
        assert units(found[-1].masks) == units(at_once)
    assert sum(units(found[-1].masks).values()) == sum(units(at_once).values())
    assert close(found[-1].model(x), remove(model, graph, found[-1].masks)(x))


def test_a_grouped_convolution_that_became_depthwise_keeps_its_channels():
    model = nn.Sequential(
        conv(3, 4), nn.Conv2d(4, 12, 3, groups=2), conv(12, 8), nn.Flatten(), nn.Linear(32, 2)
    )
    model, x = model.double().eval(), images()
    found = iterative_removal(model, x, (0.5, 0.9), filter_norms, nothing)
    grouped = [each.model[1] for each in found]
    assert [each.groups for each in grouped] == [2, 2]
    assert [(each.in_channels, each.out_channels) for each in grouped] == [(2, 6), (2, 6)]
    assert [each.model[2][0].out_channels for each in found] == [4, 1]
    assert found[1].masks["1.weight"].sum() == 3  # of 6 units, each a channel of either group
    graph = dependency_graph(model, x)
    assert close(found[1].model(x), remove(model, graph, found[1].masks)(x))


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_gone_stays_gone_and_every_round_is_that_much_smaller(sign):
    """Scores below zero, too, bring nothing back."""
    model, x = network(["residual", "concat", "grouped"], "flatten"), images()

    def score(net, graph):
        return {name: sign * each for name, each in filter_norms(net, graph).items()}

    found = iterative_removal(model, x, (0.2, 0.4, 0.6), score, nothing)
    for before, after in itertools.pairwise(found):
        assert all((after.masks[name] <= before.masks[name]).all() for name in after.masks)
        assert size(after.model) < size(before.model)
    whole = remove(model, dependency_graph(model, x), found[-1].masks)
    assert torch.equal(found[-1].model(x), whole(x))


@pytest.mark.parametrize("choose", [by_group, overall, partial(by_group, multiple=4)])
def test_scores_that_do_not_follow_what_else_goes_end_at_the_network_of_one_step(choose):
    model, x = build(ResNetSpec(width=8)).eval(), torch.randn(2, 3, 16, 16)
    for each in model.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.uniform_(each.weight)
    found = iterative_removal(model, x, (0.1, 0.3, 0.5), norm_scales, nothing, choose)
    graph = dependency_graph(model, x)
    masks = choose(graph, norm_scales(model, graph), 0.5)
    assert all(torch.equal(masks[name], found[-1].masks[name]) for name in masks)
    assert torch.equal(found[-1].model(x), remove(model, graph, masks)(x))


def test_each_round_is_chosen_by_what_training_left():
    model, x = network(["conv"], "mean"), images()
    seen = []

    def turn_around(net):
        """What is largest becomes smallest."""
        with torch.no_grad():
            net[0][1].weight.reciprocal_()
        seen.append(len(net[0][1].weight))

    with torch.no_grad():
        model[0][1].weight.copy_(torch.tensor([1.0, 2, 3, 4]))
    name = "0.0.weight"
    found = iterative_removal(model, x, (0.25, 0.5), norm_scales, turn_around)
    assert found[0].masks[name].tolist() == [False, True, True, True]
    assert found[1].masks[name].tolist() == [False, True, True, False]
    assert seen == [3, 2]


def test_the_model_and_earlier_rounds_stay_as_they_were():
    model, x = network(["conv", "residual"], "mean"), images()
    before = model(x)

    def train(net):
        with torch.no_grad():
            for each in net.parameters():
                each.mul_(1.5)

    found = iterative_removal(model, x, (0.3, 0.6), filter_norms, train)
    first = iterative_removal(model, x, (0.3,), filter_norms, train)
    assert torch.equal(model(x), before)
    assert torch.equal(found[0].model(x), first[0].model(x))


@pytest.mark.parametrize(
    ("ratios", "told"),
    [((), r"that rise, got \[\]"), ((0.5, 0.2), r"got \[0.5, 0.2\]"), ((0.2, 1.0), "1")],
)
def test_schedules_that_fall_or_leave_nothing_are_refused(ratios, told):
    with pytest.raises(ValueError, match=told):
        iterative_removal(network(["conv"], "mean"), images(), ratios, filter_norms, nothing)


def size(model):
    return sum(each.numel() for each in model.parameters())
