"""Sums over paths are float64 products: 1e-12 relative."""

import math
from itertools import pairwise

import pytest
import torch
from gradient_nets import chain, conv_net
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import images, resnet
from torch import nn

from reference.pruning.gradient.synflow import (
    linearised,
    synaptic_flow,
    synflow_masks,
    synflow_scores,
)
from reference.pruning.masks import global_masks, layer_masks
from reference.pruning.weights import masked


def flow(model, shape):
    return synaptic_flow(linearised(model), torch.ones(1, *shape).double()).item()


@given(st.lists(st.integers(1, 6), min_size=3, max_size=6), st.integers(0, 99), st.booleans())
@settings(max_examples=25)
def test_the_scores_of_every_layer_sum_to_the_flow(widths, seed, bias):
    torch.manual_seed(seed)
    model = chain(widths, bias=bias)
    total = flow(model, [widths[0]])
    for each in synflow_scores(model, torch.zeros(3, widths[0])).values():
        assert each.sum().item() == pytest.approx(total, rel=1e-12)


def test_so_they_do_through_convolutions_norms_and_pooling():
    model = conv_net()
    with torch.no_grad():
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.5, 2)
        model[1].weight.normal_()
    total = flow(model, [2, 8, 8])
    for each in synflow_scores(model, torch.zeros(3, 2, 8, 8)).values():
        assert each.sum().item() == pytest.approx(total, rel=1e-12)


def test_in_a_residual_network_all_flow_passes_the_stem_and_the_head():
    model = resnet()
    scores = synflow_scores(model, images())
    total = flow(model, images().shape[1:])
    sums = {name: each.sum().item() for name, each in scores.items()}
    assert sums["stem.conv.weight"] == pytest.approx(total, rel=1e-12)
    assert sums["head.weight"] == pytest.approx(total, rel=1e-12)
    assert max(sums.values()) <= total * (1 + 1e-12)


def test_a_score_is_the_flow_that_is_gone_without_the_weight():
    model = chain([4, 3, 2])
    scores = synflow_scores(model, torch.zeros(1, 4))
    for name, each in scores.items():
        for place in range(each.numel()):
            mask = torch.ones_like(each, dtype=torch.bool)
            mask.view(-1)[place] = False
            lost = flow(model, [4]) - flow(masked(model, {name: mask}), [4])
            assert each.view(-1)[place].item() == pytest.approx(lost, rel=1e-9)


def test_signs_do_not_matter():
    model = chain([4, 3, 2])
    before = synflow_scores(model, torch.zeros(1, 4))
    with torch.no_grad():
        model[0].weight.neg_()
    after = synflow_scores(model, torch.zeros(1, 4))
    assert all(torch.equal(before[name], after[name]) for name in before)


@given(st.lists(st.integers(2, 7), min_size=3, max_size=4), st.integers(0, 99))
@settings(max_examples=8)
def test_weight_by_weight_no_layer_is_emptied_before_all_have_one_left(widths, seed):
    """As many weights kept as there are layers: the most compression at which anything flows."""
    torch.manual_seed(seed)
    model = chain(widths)
    sizes = [a * b for a, b in pairwise(widths)]
    total, layers = sum(sizes), len(sizes)
    steps = math.ceil(2 * total * math.log(total / layers))  # at most one weight for each
    masks = synflow_masks(model, torch.zeros(1, widths[0]), 1 - layers / total, steps)
    assert [int(each.sum()) for each in masks.values()] == [1] * layers
    assert flow(masked(model, masks), [widths[0]]) > 0


def test_one_step_empties_the_largest_layer_and_a_hundred_do_not():
    model = chain([40, 40, 2])
    at_once = global_masks(synflow_scores(model, torch.zeros(1, 40)), 0.98)
    assert not at_once["0.weight"].any()
    stepwise = synflow_masks(model, torch.zeros(1, 40), 0.98)
    assert all(each.any() for each in stepwise.values())
    assert flow(masked(model, stepwise), [40]) > 0


def test_what_is_removed_stays_away():
    model, example = chain([6, 8, 4]), torch.zeros(1, 6)
    first = global_masks(synflow_scores(model, example), 1 - 0.1**0.5)
    both = synflow_masks(model, example, 0.9, steps=2)
    assert not any((both[name] & ~first[name]).any() for name in both)


def test_a_flow_beyond_float32_is_scored():
    model = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(60)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    scores = synflow_scores(model, torch.zeros(1, 64))
    assert scores["0.weight"].sum().item() == pytest.approx(64.0**61, rel=1e-12)


def test_a_removed_layer_stops_the_flow_and_is_refused():
    model = chain([4, 3, 2])
    dead = masked(model, layer_masks({"0.weight": torch.ones(3, 4)}, {"0.weight": 1.0}))
    with pytest.raises(ValueError, match=r"flow of an input of ones is 0\.0"):
        synflow_scores(dead, torch.zeros(1, 4))


@pytest.mark.parametrize(
    "layer", [nn.GELU, nn.Tanh, lambda: nn.LayerNorm(4), lambda: nn.Softmax(1)]
)
def test_networks_that_are_not_linear_in_a_positive_input_are_refused(layer):
    model = nn.Sequential(nn.Linear(4, 4), layer(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="linear in a positive input"):
        synflow_scores(model, torch.zeros(1, 4))
    with pytest.raises(ValueError, match="linear in a positive input"):
        synflow_masks(model, torch.zeros(1, 4), 0.5)
