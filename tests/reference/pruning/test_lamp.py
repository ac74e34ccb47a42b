"""Claims about LAMP. 1e-12 is float64's over sums of some dozen terms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reference.pruning.lamp import lamp, lamp_scores
from reference.pruning.magnitude import magnitude
from reference.pruning.masks import global_masks, layer_mask

SEED = st.integers(0, 999)


def weight(seed: int, *shape: int, ties: bool = False) -> torch.Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return drawn.mul(2).round() if ties else drawn


@given(SEED, st.integers(1, 8), st.integers(1, 8))
def test_a_score_is_the_share_of_the_squares_of_all_that_are_no_lighter(seed, rows, columns):
    given_weight = weight(seed, rows, columns)
    scores = lamp(given_weight)
    for value, score in zip(given_weight.flatten().double(), scores.flatten(), strict=True):
        left = given_weight[given_weight.abs() >= value.abs()].double().square().sum()
        assert score.item() == pytest.approx((value**2 / left).item(), rel=1e-12)


@given(SEED, st.integers(1, 8), st.booleans())
def test_one_weight_scores_1_and_the_others_at_most_a_half(seed, columns, ties):
    given_weight = weight(seed, 5, columns, ties=ties)
    given_weight[2, 0] = 7.0
    scores = lamp(given_weight).flatten().sort(descending=True).values
    assert scores[0] == 1
    assert (scores[1:] <= 0.5).all()


@given(SEED, st.booleans(), st.floats(0, 1))
def test_within_a_layer_lamp_removes_what_magnitude_removes(seed, ties, sparsity):
    given_weight = weight(seed, 6, 7, ties=ties)
    expected = layer_mask(magnitude(given_weight), sparsity)
    assert torch.equal(layer_mask(lamp(given_weight), sparsity), expected)


@given(SEED, st.integers(-60, 60))
def test_scores_do_not_change_with_the_scale_of_a_layer(seed, exponent):
    given_weight = weight(seed, 6, 7)
    assert torch.equal(lamp(given_weight * 2.0**exponent), lamp(given_weight))  # powers are exact
    assert torch.allclose(lamp(given_weight.double() * 3e-30), lamp(given_weight), rtol=1e-12)


@given(SEED, st.integers(4, 30))
def test_no_layer_is_emptied_while_as_many_weights_are_kept_as_there_are_layers(seed, kept):
    scores = {str(i): lamp(weight(seed + i, 3, 4 + i) * 10.0**i) for i in range(4)}
    total = sum(each.numel() for each in scores.values())
    masks = global_masks(scores, 1 - kept / total)
    assert sum(int(each.sum()) for each in masks.values()) == kept
    assert all(each.any() for each in masks.values())


def test_magnitude_empties_a_layer_that_lamp_keeps():
    layers = {"small": weight(0, 5, 5) / 100, "large": weight(1, 5, 5) + 10}
    by_magnitude = global_masks({name: magnitude(each) for name, each in layers.items()}, 0.5)
    by_lamp = global_masks({name: lamp(each) for name, each in layers.items()}, 0.5)
    assert not by_magnitude["small"].any()
    assert by_lamp["small"].any()


def test_of_equal_weights_the_last_is_the_heaviest():
    expected = [1 / 4, 1 / 3, 1 / 2, 1.0]
    assert lamp(torch.tensor([2.0, -2.0, 2.0, -2.0])).tolist() == pytest.approx(expected)


def test_weights_whose_squares_have_no_float_are_scored():
    assert lamp(torch.tensor([1e-30, 2e-30])).tolist() == pytest.approx([0.2, 1.0])
    assert lamp(torch.tensor([1e30, 2e30])).tolist() == pytest.approx([0.2, 1.0])


def test_a_layer_of_zeros_scores_0():
    assert not lamp(torch.zeros(2, 3)).any()


def test_layers_of_a_model_are_scored_each_by_itself():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    scores = lamp_scores(model, spared=["1"])
    assert list(scores) == ["0.weight"]
    assert torch.equal(scores["0.weight"], lamp(model[0].weight))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="inf or nan"):
        lamp(torch.tensor([1.0, bad]))
