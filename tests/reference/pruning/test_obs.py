"""Quadratics in float64 of condition 100 or less: 1e-9 is rounding."""

from itertools import combinations

import pytest
import torch
from gradient_nets import positive_definite
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.pruning.gradient.obs import obs_prune, obs_scores, removed_at_once, without

SIZE, SEED = st.integers(2, 8), st.integers(0, 999)


def problem(n: int, seed: int, rows: int = 1):
    """Weights, each row's Hessian and its inverse."""
    hessian = torch.stack([positive_definite(n, seed + row) for row in range(rows)])
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, n, generator=generator).double(), hessian, hessian.inverse()


def loss(change, hessian):
    return torch.einsum("ri,rij,rj->r", change, hessian, change) / 2


def least_squares(weight, hessian, gone):
    """The KKT system of: minimise d' H d / 2 with d = -w on what is gone."""
    n, k = len(weight), len(gone)
    select = torch.eye(n).double()[gone]
    system = torch.cat(
        [torch.cat([hessian, select.T], 1), torch.cat([select, torch.zeros(k, k).double()], 1)]
    )
    target = torch.cat([torch.zeros(n).double(), -weight[gone]])
    return torch.linalg.solve(system, target)[:n]


@given(SIZE, SEED, st.data())
@settings(max_examples=40)
def test_the_predicted_loss_is_the_realised_one(n, seed, data):
    weight, hessian, inverse = problem(n, seed, rows=3)
    found = obs_prune(weight, inverse, data.draw(st.integers(0, n)))
    assert torch.allclose(found.costs.sum(1), loss(found.weight - weight, hessian), rtol=1e-8)
    assert (found.weight[~found.mask] == 0).all()


@given(SIZE, SEED)
def test_one_removal_is_the_papers(n, seed):
    weight, _, inverse = problem(n, seed)
    found = obs_prune(weight, inverse, 1)
    q = int(found.order[0, 0])
    change = found.weight - weight
    expected = -(weight[0, q] / inverse[0, q, q]) * inverse[0, :, q]
    assert torch.allclose(change[0], expected, atol=1e-10)
    assert change[0, q].item() == -weight[0, q].item()
    assert torch.equal(found.costs[0, 0], obs_scores(weight, inverse).min())


@given(SIZE, SEED, st.data())
@settings(max_examples=40)
def test_a_set_removed_at_once_is_constrained_least_squares(n, seed, data):
    weight, hessian, inverse = problem(n, seed)
    mask = torch.tensor([data.draw(st.lists(st.booleans(), min_size=n, max_size=n))])
    found, cost = removed_at_once(weight, inverse, mask)
    gone = torch.nonzero(~mask[0]).flatten().tolist()
    expected = weight[0] + least_squares(weight[0], hessian[0], gone)
    assert torch.allclose(found[0], expected, atol=1e-9)
    assert torch.allclose(cost, loss(found - weight, hessian), atol=1e-10)


@given(SIZE, SEED, st.data())
@settings(max_examples=40)
def test_one_by_one_ends_where_at_once_does(n, seed, data):
    weight, _, inverse = problem(n, seed, rows=2)
    stepwise = obs_prune(weight, inverse, data.draw(st.integers(0, n)))
    at_once, cost = removed_at_once(weight, inverse, stepwise.mask)
    assert torch.allclose(stepwise.weight, at_once, atol=1e-9)
    assert torch.allclose(stepwise.costs.sum(1), cost, atol=1e-9)


@given(SIZE, SEED, st.data())
@settings(max_examples=40)
def test_elimination_is_the_inverse_of_what_is_left(n, seed, data):
    _, hessian, inverse = problem(n, seed, rows=2)
    chosen = torch.tensor([data.draw(st.integers(0, n - 1)) for _ in range(2)])
    found = without(inverse, chosen)
    for row, q in enumerate(chosen.tolist()):
        left = [place for place in range(n) if place != q]
        expected = hessian[row][left][:, left].inverse()
        assert torch.allclose(found[row][left][:, left], expected, atol=1e-9)
        assert not found[row, q].any()
        assert not found[row, :, q].any()


@given(st.integers(2, 7), SEED)
@settings(max_examples=20)
def test_greed_never_beats_the_best_set_and_finds_it_for_one(n, seed):
    weight, _, inverse = problem(n, seed)
    for count in range(1, n + 1):
        best = min(
            removed_at_once(weight, inverse, mask_without(n, gone))[1].item()
            for gone in combinations(range(n), count)
        )
        greedy = obs_prune(weight, inverse, count).costs.sum().item()
        assert greedy >= best - 1e-10
        if count in (1, n):
            assert greedy == pytest.approx(best, rel=1e-9)


def test_greed_can_miss_the_best_set():
    missed = 0
    for seed in range(50):
        weight, _, inverse = problem(6, seed)
        best = min(
            removed_at_once(weight, inverse, mask_without(6, gone))[1].item()
            for gone in combinations(range(6), 3)
        )
        missed += obs_prune(weight, inverse, 3).costs.sum().item() > best * 1.001
    assert 0 < missed < 50


def mask_without(n, gone):
    mask = torch.ones(1, n, dtype=torch.bool)
    mask[0, list(gone)] = False
    return mask


@given(SIZE, SEED)
def test_a_diagonal_hessian_is_obd_and_nothing_moves(n, seed):
    weight, hessian, _ = problem(n, seed)
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    inverse = torch.diag_embed(1 / diagonal)
    assert torch.allclose(obs_scores(weight, inverse), diagonal * weight.square() / 2, rtol=1e-12)
    found = obs_prune(weight, inverse, n // 2)
    assert torch.equal(found.weight, weight * found.mask)


def test_groups_lose_no_more_than_they_may():
    weight, _, inverse = problem(8, 3, rows=5)
    found = obs_prune(weight, inverse, 4, most=torch.tensor([1, 3]))
    assert (~found.mask).unflatten(1, (2, 4)).sum(2).tolist() == [[1, 3]] * 5


def test_rows_and_arguments_are_left_alone():
    weight, _, inverse = problem(6, 1, rows=3)
    kept = weight.clone(), inverse.clone()
    together = obs_prune(weight, inverse, 3)
    assert torch.equal(weight, kept[0])
    assert torch.equal(inverse, kept[1])
    alone = obs_prune(weight[1:2], inverse[1:2], 3)
    assert torch.equal(alone.order[0], together.order[1])
    assert torch.allclose(alone.weight[0], together.weight[1], atol=1e-14)


def test_what_cannot_be_removed_is_refused():
    weight, _, inverse = problem(4, 0)
    with pytest.raises(ValueError, match="cannot remove 5 of 4 weights"):
        obs_prune(weight, inverse, 5)
    with pytest.raises(ValueError, match="positive definite; damp it"):
        obs_prune(weight, -inverse, 1)
    with pytest.raises(ValueError, match="positive definite; damp it"):
        obs_prune(weight, inverse * float("nan"), 1)
