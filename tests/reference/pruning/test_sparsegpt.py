"""Claims about SparseGPT. Tolerances of 1e-8 are float64's over some hundred operations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.outlier_layers import outlier_layer
from bench.pruned_layers import errors
from reference.cholesky import inverse_factor
from reference.pruning.gradient.obs import without
from reference.pruning.gradient.pruned import NOfM
from reference.pruning.gradient.refit import refit
from reference.pruning.gradient.sparsegpt import SparseGptConfig, mended_on, sparsegpt
from reference.pruning.gradient.wanda import wanda, wanda_scores
from reference.pruning.masks import layer_mask, removed_count, row_mask, without_lowest
from reference.statistics import InputStatistics, input_statistics

PATTERNS = [0.25, 0.5, 0.8, NOfM(2, 4), NOfM(4, 8)]
every_pattern = pytest.mark.parametrize("pattern", PATTERNS, ids=str)


def small(seed: int = 0, d_out: int = 12, d_in: int = 64):
    return outlier_layer(seed, d_out=d_out, d_in=d_in, tokens=300, rank=10)


def damped(gram, damping=0.01):
    return gram + damping * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)


def uncorrelated(d_in: int = 64):
    gram = torch.diag(torch.rand(d_in).double() + 0.1)
    return InputStatistics(gram, gram.diagonal(), gram.diagonal(), 1)


def by_elimination(weight, gram, mask):
    """Column by column with OBS's own formulas, every column leaving the inverse in its turn."""
    weight = weight.clone()
    inverse = damped(gram).inverse().unsqueeze(0)
    for j in range(weight.shape[1]):
        gone = weight[:, j] * ~mask[:, j]
        weight -= torch.outer(gone, inverse[0, j] / inverse[0, j, j])
        weight[:, j] *= mask[:, j]
        inverse = without(inverse, torch.tensor([j]))
    return weight


def test_on_a_mask_it_is_the_surgeon_going_from_left_to_right():
    layer = small()
    mask = row_mask(torch.rand(12, 64), 0.5)
    found = mended_on(layer.weight, layer.statistics, mask)
    expected = by_elimination(layer.weight, layer.statistics.gram, mask)
    assert torch.allclose(found.weight, expected, atol=1e-8)
    assert torch.equal(found.mask, mask)


def test_pivots_of_the_score_are_obs_of_the_columns_not_yet_passed():
    layer = small()
    factor, _ = inverse_factor(layer.statistics.gram, 0.01)
    inverse = damped(layer.statistics.gram).inverse().unsqueeze(0)
    for j in range(64):
        assert inverse[0, j, j].item() == pytest.approx(factor[j, j].square().item(), rel=1e-7)
        inverse = without(inverse, torch.tensor([j]))


def test_the_first_block_is_chosen_by_the_weights_as_they_come():
    layer = small()
    factor, _ = inverse_factor(layer.statistics.gram, 0.01)
    scores = (layer.weight / factor.diagonal()).square()[:, :16].T
    found = sparsegpt(layer.weight, layer.statistics, 0.5, SparseGptConfig(block_size=16))
    assert torch.equal(found.mask[:, :16].T, without_lowest(scores, 12 * 8))


@pytest.mark.parametrize("block_size", [1, 7, 16, 24, 1000])
def test_blocks_change_nothing_on_a_mask_or_for_n_of_m(block_size):
    layer = small()
    config = SparseGptConfig(block_size=block_size)
    mask = row_mask(torch.rand(12, 64), 0.5)
    expected = mended_on(layer.weight, layer.statistics, mask).weight
    found = mended_on(layer.weight, layer.statistics, mask, config).weight
    assert torch.allclose(found, expected, atol=1e-9)
    whole = sparsegpt(layer.weight, layer.statistics, NOfM(2, 4))
    parts = sparsegpt(layer.weight, layer.statistics, NOfM(2, 4), config)
    assert torch.equal(whole.mask, parts.mask)
    assert torch.allclose(whole.weight, parts.weight, atol=1e-9)


def test_where_masks_are_chosen_by_blocks_the_size_matters():
    layer = small()
    masks = [
        sparsegpt(layer.weight, layer.statistics, 0.5, SparseGptConfig(block_size=size)).mask
        for size in (8, 64)
    ]
    assert not torch.equal(*masks)


@given(st.integers(1, 9), st.integers(1, 30), st.integers(1, 40), st.floats(0, 1), st.booleans())
@settings(max_examples=40)
def test_counts_are_exact_over_the_layer_and_in_each_block(rows, d_in, block, sparsity, ties):
    layer = small(d_out=rows, d_in=max(d_in, 4))
    weight = torch.ones_like(layer.weight) if ties else layer.weight
    inputs = uncorrelated(weight.shape[1]) if ties else layer.statistics
    found = sparsegpt(weight, inputs, sparsity, SparseGptConfig(block_size=block))
    gone = ~found.mask
    assert int(gone.sum()) == removed_count(weight.numel(), sparsity)
    for part in gone.split(block, 1):
        assert abs(int(part.sum()) - sparsity * part.numel()) <= 1
    assert not found.weight[gone].any()


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8), (0, 3), (3, 3), (2, 5)])
def test_n_of_every_m_are_kept_and_all_of_a_last_group_within_n(n, m):
    layer = small()
    kept = sparsegpt(layer.weight, layer.statistics, NOfM(n, m)).mask
    whole = 64 // m * m
    assert (kept[:, :whole].unflatten(1, (-1, m)).sum(2) == n).all()
    assert (kept[:, whole:].sum(1) == min(n, 64 - whole)).all()


def test_inputs_that_are_not_correlated_leave_wanda_and_nothing_moves():
    """Up to the damping, which makes inputs a little more alike; hence 1e-6 of the mean."""
    weight, inputs = small().weight, uncorrelated()
    config = SparseGptConfig(damping=1e-12, block_size=64)
    in_groups = sparsegpt(weight, inputs, NOfM(2, 4), config)
    assert torch.equal(in_groups.weight, wanda(weight, inputs, NOfM(2, 4)).weight)
    one_block = sparsegpt(weight, inputs, 0.5, config)
    squared = wanda_scores(weight, inputs).square()
    assert torch.equal(one_block.mask, layer_mask(squared, 0.5))
    assert torch.equal(one_block.weight, weight * one_block.mask)
    factor, _ = inverse_factor(inputs.gram, 1e-12)
    assert torch.allclose((weight / factor.diagonal()).square(), squared, rtol=1e-9)


@every_pattern
@pytest.mark.parametrize("seed", range(4))
def test_no_row_is_better_than_the_refit_on_its_mask(pattern, seed):
    layer = small(seed)
    found = sparsegpt(layer.weight, layer.statistics, pattern)
    bound = refit(layer.weight, layer.statistics, found.mask)
    error, least = (
        layer.statistics.output_error(each.weight - layer.weight) for each in (found, bound)
    )
    assert (error >= least * (1 - 1e-6)).all()  # condition of some thousands
    assert error.sum() > 1.01 * least.sum()


@every_pattern
def test_mending_helps_in_the_mean_on_the_same_mask(pattern):
    """Over eight layers; single rows may lose by it."""
    moved, still = 0.0, 0.0
    for seed in range(8):
        layer = small(seed)
        found = sparsegpt(layer.weight, layer.statistics, pattern)
        moved += layer.relative_error(found.weight)
        still += layer.relative_error(layer.weight * found.mask)
    assert moved < still


def test_magnitude_wanda_sparsegpt_and_the_refit_come_in_this_order_in_the_mean():
    """On layers with outliers (bench/pruned_layers.py prints the means); not layer by layer."""
    order = ["magnitude", "Wanda", "SparseGPT", "SparseGPT's mask, refitted"]
    means = [sum(errors(name, range(3))) for name in order]
    assert means == sorted(means, reverse=True)


def test_inputs_never_seen_keep_what_is_kept_and_move_nothing():
    layer = small()
    x = layer.inputs.clone()
    x[:, [3, 20, 63]] = 0
    inputs = input_statistics([x])
    mask = row_mask(torch.rand(12, 64), 0.5)
    found = mended_on(layer.weight, inputs, mask)
    assert torch.equal(found.weight[:, [3, 20, 63]], (layer.weight * mask)[:, [3, 20, 63]])
    gone = mask.clone()
    gone[:, 3] = False
    seen = [j for j in range(64) if j != 3]
    assert torch.equal(mended_on(layer.weight, inputs, gone).weight[:, seen], found.weight[:, seen])


def test_no_input_ever_seen_is_magnitude():
    weight = small().weight
    nothing = input_statistics([torch.zeros(5, 64).double()])
    found = sparsegpt(weight, nothing, 0.5)
    assert torch.equal(found.mask, layer_mask(weight.abs(), 0.5))
    assert torch.equal(found.weight, weight * found.mask)


def test_fewer_tokens_than_inputs_are_enough():
    layer = small()
    few = input_statistics([layer.inputs[:3]])
    found = sparsegpt(layer.weight, few, 0.5)
    still = layer.weight * found.mask
    assert torch.isfinite(found.weight).all()
    assert few.output_error(found.weight - layer.weight).sum() < (
        few.output_error(still - layer.weight).sum()
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_arguments_and_dtypes_stay(dtype):
    layer = small()
    weight = layer.weight.to(dtype)
    inputs = input_statistics([layer.inputs.float()])
    before = weight.clone(), inputs.gram.clone()
    found = sparsegpt(weight, inputs, 0.5)
    assert found.weight.dtype == dtype
    assert torch.equal(weight, before[0])
    assert torch.equal(inputs.gram, before[1])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: SparseGptConfig(block_size=0), "block_size must be at least 1, got 0"),
        (lambda: SparseGptConfig(damping=0.0), "damping must be in"),
        (lambda: SparseGptConfig(damping=float("nan")), "damping must be in"),
        (lambda: sparsegpt(small().weight, small().statistics, 1.1), "got 1.1"),
        (lambda: sparsegpt(small().weight, small().statistics, NOfM(5, 4)), "got 5:4"),
        (lambda: sparsegpt(small().weight, small().statistics, NOfM(0, 0)), "got 0:0"),
        (lambda: sparsegpt(small().weight / 0, small().statistics, 0.5), "inf or nan"),
        (lambda: sparsegpt(small().weight[:, 1:], small().statistics, 0.5), "read 64 inputs"),
        (
            lambda: mended_on(small().weight, small().statistics, torch.ones(2, 64).bool()),
            r"shape \(2, 64\), the weight \(12, 64\)",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
