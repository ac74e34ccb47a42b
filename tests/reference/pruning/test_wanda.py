import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.outlier_layers import outlier_layer
from reference.pruning.gradient.obs import obs_scores
from reference.pruning.gradient.pruned import NOfM
from reference.pruning.gradient.wanda import wanda, wanda_scores
from reference.pruning.masks import removed_count
from reference.statistics import input_statistics


def small(seed: int = 0):
    return outlier_layer(seed, d_out=6, d_in=24, tokens=200, rank=8)


def test_a_score_is_the_weight_times_the_norm_of_its_input():
    layer = small()
    expected = layer.weight.abs() * torch.linalg.vector_norm(layer.inputs, dim=0)
    assert torch.allclose(wanda_scores(layer.weight, layer.statistics), expected, rtol=1e-12)


def test_norms_are_over_all_batches():
    layer = small()
    parts = input_statistics(layer.inputs.split([30, 70, 100]))
    whole = wanda_scores(layer.weight, layer.statistics)
    assert torch.allclose(wanda_scores(layer.weight, parts), whole, rtol=1e-12)


def test_squared_it_is_the_surgeons_with_a_diagonal_hessian():
    """H = X'X per row, without the halves: 2 s = w^2 / [H^-1]_qq."""
    layer = small()
    diagonal = layer.statistics.gram.diagonal() * layer.statistics.tokens
    inverse = torch.diag(1 / diagonal).expand(6, -1, -1)
    squared = wanda_scores(layer.weight, layer.statistics).square()
    assert torch.allclose(squared, 2 * obs_scores(layer.weight, inverse), rtol=1e-12)


def test_squared_it_is_the_error_of_removing_that_weight_alone():
    layer = small()
    squared = wanda_scores(layer.weight, layer.statistics).square()
    for row, column in [(0, 0), (3, 7), (5, 23)]:
        without = layer.weight.clone()
        without[row, column] = 0
        error = (layer.inputs @ (without - layer.weight).T).square().sum()
        assert squared[row, column].item() == pytest.approx(error.item(), rel=1e-12)


@given(st.floats(0, 1), st.integers(0, 20))
def test_every_row_loses_exactly_its_count_and_keeps_the_rest_as_it_was(sparsity, seed):
    layer = small(seed)
    found = wanda(layer.weight, layer.statistics, sparsity)
    assert ((~found.mask).sum(1) == removed_count(24, sparsity)).all()
    assert torch.equal(found.weight, layer.weight * found.mask)


def test_equal_scores_leave_the_count_exact():
    layer = small()
    found = wanda(torch.ones(6, 24).double(), input_statistics([torch.ones(4, 24)]), 0.5)
    assert ((~found.mask).sum(1) == 12).all()
    assert layer.weight.shape == found.mask.shape


@pytest.mark.parametrize("pattern", [NOfM(2, 4), NOfM(1, 4), NOfM(4, 8)])
def test_n_of_every_m_are_the_highest(pattern):
    layer = small()
    found = wanda(layer.weight, layer.statistics, pattern)
    scores = wanda_scores(layer.weight, layer.statistics).unflatten(1, (-1, pattern.m))
    best = scores.topk(pattern.n, dim=2).indices
    expected = torch.zeros_like(scores, dtype=torch.bool).scatter_(2, best, True).flatten(1)
    assert torch.equal(found.mask, expected)


def test_inputs_never_seen_go_first():
    layer = small()
    x = layer.inputs.clone()
    x[:, [3, 20]] = 0
    found = wanda(layer.weight, input_statistics([x]), 2 / 24)
    assert not found.mask[:, [3, 20]].any()


def test_a_larger_input_protects_its_weights():
    layer = small()
    x = layer.inputs.clone()
    x[:, 5] *= 1e6
    assert wanda(layer.weight, input_statistics([x]), 0.9).mask[:, 5].all()


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        (-0.1, "sparsity must be within 0 and 1, got -0.1"),
        (math.nan, "sparsity must be within 0 and 1, got nan"),
        (NOfM(5, 4), "got 5:4"),
    ],
)
def test_patterns_without_meaning_are_refused(pattern, told):
    with pytest.raises(ValueError, match=told):
        wanda(small().weight, small().statistics, pattern)


def test_values_without_meaning_are_refused():
    layer = small()
    with pytest.raises(ValueError, match="does not read 24 inputs"):
        wanda(layer.weight[:, 1:], layer.statistics, 0.5)
    with pytest.raises(ValueError, match="contains inf or nan"):
        wanda(layer.weight / 0, layer.statistics, 0.5)
