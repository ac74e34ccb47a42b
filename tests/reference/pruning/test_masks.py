import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.pruning.masks import (
    all_kept,
    block_mask,
    global_masks,
    layer_mask,
    layer_masks,
    n_m_mask,
    removed_count,
    row_mask,
    sparsity_of,
    within,
    without_lowest,
)

SHARE = st.floats(0, 1)
SIZE = st.integers(1, 40)


def scores(rows: int, columns: int, seed: int, ties: bool) -> torch.Tensor:
    drawn = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).abs()
    return drawn.mul(3).floor() if ties else drawn


@given(SIZE, SIZE, st.integers(0, 99), st.booleans(), SHARE)
def test_counts_are_exact_and_the_kept_are_no_lower(rows, columns, seed, ties, sparsity):
    given_scores = scores(rows, columns, seed, ties)
    mask = layer_mask(given_scores, sparsity)
    assert int((~mask).sum()) == math.floor(sparsity * rows * columns + 0.5)
    if mask.any() and not mask.all():
        assert given_scores[mask].min() >= given_scores[~mask].max()


@given(SIZE, SIZE, st.integers(0, 99), st.booleans(), SHARE, SHARE)
def test_masks_are_nested_in_sparsity(rows, columns, seed, ties, one, other):
    given_scores = scores(rows, columns, seed, ties)
    low, high = (layer_mask(given_scores, each) for each in sorted((one, other)))
    assert not (high & ~low).any()


def test_sparsity_0_keeps_all_and_1_removes_all():
    assert layer_mask(torch.zeros(3, 5), 0.0).all()
    assert not layer_mask(torch.full((3, 5), math.inf), 1.0).any()


def test_half_a_weight_is_removed_not_kept():
    assert [removed_count(size, 0.5) for size in (1, 3, 5)] == [1, 2, 3]


def test_of_equal_scores_the_first_is_removed_first():
    assert without_lowest(torch.ones(4), 2).tolist() == [False, False, True, True]


@given(st.integers(0, 99), SHARE)
def test_global_of_one_layer_is_the_layer_by_itself(seed, sparsity):
    only = scores(7, 9, seed, ties=True)
    assert torch.equal(global_masks({"a": only}, sparsity)["a"], layer_mask(only, sparsity))


@given(st.integers(0, 99), SHARE)
def test_global_masks_do_not_depend_on_the_order_of_layers(seed, sparsity):
    one, other = scores(5, 4, seed, ties=False), scores(3, 8, seed + 100, ties=False)
    there = global_masks({"one": one, "other": other}, sparsity)
    back = global_masks({"other": other, "one": one}, sparsity)
    assert all(torch.equal(there[name], back[name]) for name in there)


def test_global_masks_follow_the_scale_of_a_layer():
    one = scores(8, 8, 0, ties=False)
    masks = global_masks({"small": one, "large": 100 * one + 100}, 0.5)
    assert not masks["small"].any()
    assert masks["large"].all()


@given(SIZE, SIZE, st.integers(0, 99), SHARE)
def test_every_row_loses_the_same_number(rows, columns, seed, sparsity):
    kept = row_mask(scores(rows, columns, seed, ties=True), sparsity)
    assert set((~kept).sum(1).tolist()) == {removed_count(columns, sparsity)}


@given(SIZE, SIZE, st.integers(0, 99), st.integers(0, 8), st.integers(1, 8))
def test_n_of_every_m_are_kept(rows, columns, seed, n, m):
    if n > m:
        n, m = m, n
    kept = n_m_mask(scores(rows, columns, seed, ties=True), n, m)
    whole = columns // m * m
    assert (kept[:, :whole].unflatten(1, (-1, m)).sum(-1) == n).all()
    assert (kept[:, whole:].sum(1) == min(n, columns - whole)).all()


def test_two_to_four_keeps_the_two_largest_of_four():
    kept = n_m_mask(torch.tensor([[1.0, 4, 2, 3, 9, 8, 7, 6]]), 2, 4)
    assert kept.int().tolist() == [[0, 1, 0, 1, 1, 1, 0, 0]]


@given(SIZE, SIZE, st.integers(1, 9), st.integers(1, 9), st.integers(0, 99), SHARE)
def test_blocks_are_kept_whole(rows, columns, height, width, seed, sparsity):
    kept = block_mask(scores(rows, columns, seed, ties=False), (height, width), sparsity)
    corners = kept[::height, ::width]
    spread = corners.repeat_interleave(height, 0).repeat_interleave(width, 1)
    assert torch.equal(kept, spread[:rows, :columns])
    assert int((~corners).sum()) == removed_count(corners.numel(), sparsity)


def test_a_small_block_at_the_edge_is_not_lost_for_being_small():
    values = torch.ones(2, 5)
    values[:, :2] = 0.5
    assert block_mask(values, (2, 4), 0.5)[0].tolist() == [False] * 4 + [True]


def test_every_layer_takes_its_own_sparsity():
    masks = layer_masks({"a": torch.rand(10), "b": torch.rand(30)}, {"a": 0.0, "b": 0.5})
    assert sparsity_of(masks) == 15 / 40


def test_masks_that_keep_everything_have_sparsity_0():
    assert sparsity_of(all_kept({"a": torch.rand(3, 4), "b": torch.rand(2)})) == 0


@given(st.integers(0, 99), st.booleans(), SHARE, SHARE)
def test_masks_within_others_bring_nothing_back(seed, ties, one, other):
    low, high = sorted((one, other))
    first = global_masks({"a": scores(6, 7, seed, ties)}, low)
    second = global_masks(within({"a": scores(6, 7, seed + 1, ties)}, first), high)
    assert not (second["a"] & ~first["a"]).any()
    assert int((~second["a"]).sum()) == removed_count(42, high)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: layer_mask(torch.ones(2), 1.5), "sparsity must be within 0 and 1, got 1.5"),
        (lambda: layer_mask(torch.ones(2), math.nan), "sparsity must be within 0 and 1, got nan"),
        (lambda: without_lowest(torch.ones(2), 3), "cannot remove 3 of 2"),
        (lambda: layer_mask(torch.tensor([math.nan]), 0.5), "contain nan, in 1 places"),
        (lambda: n_m_mask(torch.ones(1, 4), 5, 4), "got 5:4"),
        (lambda: n_m_mask(torch.ones(1, 4), 0, 0), "got 0:0"),
        (lambda: block_mask(torch.ones(1, 4), (0, 1), 0.5), "sides of at least 1"),
        (lambda: global_masks({}, 0.5), "at least one weight"),
        (lambda: layer_masks({"a": torch.ones(1)}, {"b": 0.5}), "different weights: a, b"),
        (lambda: within({"a": torch.ones(1)}, {}), "different weights: a"),
    ],
)
def test_what_has_no_meaning_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
