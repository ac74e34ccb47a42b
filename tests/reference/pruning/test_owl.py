from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.pruning.gradient.owl import outlier_share, owl_sparsities

LAYERS = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 1000)), min_size=1, max_size=8)


@given(LAYERS, st.floats(0, 1), st.floats(0, 0.5))
def test_the_budget_is_met_and_no_layer_is_out_of_reach(layers, sparsity, reach):
    shares, sizes = map(list, zip(*layers, strict=True))
    found = owl_sparsities(shares, sizes, sparsity, reach)
    removed = sum(each * size for each, size in zip(found, sizes, strict=True))
    assert removed / sum(sizes) == pytest.approx(sparsity, abs=1e-12)  # float64
    assert all(
        max(0, sparsity - reach) - 1e-12 <= s <= min(1, sparsity + reach) + 1e-12 for s in found
    )


@given(LAYERS, st.floats(0.1, 0.9))
def test_more_outliers_never_mean_more_removed(layers, sparsity):
    shares, sizes = map(list, zip(*layers, strict=True))
    found = owl_sparsities(shares, sizes, sparsity)
    order = sorted(range(len(shares)), key=lambda layer: shares[layer])
    sparsities = [found[layer] for layer in order]
    assert all(a >= b - 1e-12 for a, b in pairwise(sparsities))


def test_two_layers_take_both_ends_and_equal_ones_the_middle():
    assert owl_sparsities([0.01, 0.03], [5, 5], 0.7) == pytest.approx([0.78, 0.62])
    assert owl_sparsities([0.02, 0.02, 0.02], [5, 7, 9], 0.7) == pytest.approx([0.7] * 3)


def test_without_reach_all_are_equal():
    assert owl_sparsities([0.0, 0.1, 0.5], [1, 2, 3], 0.6, reach=0.0) == pytest.approx([0.6] * 3)


def test_one_layer_far_off_is_clipped_and_the_others_pay():
    """A shift by the mean alone would leave it at 0.7 + 0.08 * 3 / 2 of density."""
    found = owl_sparsities([0.5, 0.0, 0.0, 0.0], [1, 1, 1, 1], 0.5)
    assert found[0] == pytest.approx(0.42)
    assert found[1:] == pytest.approx([0.5 + 0.08 / 3] * 3)


def test_outliers_are_counted_over_all_tensors_of_a_layer():
    scores = [torch.tensor([1.0, 1.0, 1.0, 97.0]), torch.zeros(2, 3)]
    assert outlier_share(scores, times=5.0) == 0.1  # the mean is 10
    assert outlier_share(scores, times=9.7) == 0.0  # more than, not as much
    assert outlier_share([torch.ones(5)]) == 0.0


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: owl_sparsities([], [], 0.5), "0 shares of outliers"),
        (lambda: owl_sparsities([0.1], [1, 2], 0.5), r"1 shares .* \[1, 2\]"),
        (lambda: owl_sparsities([0.1], [0], 0.5), r"layers of \[0\]"),
        (lambda: owl_sparsities([0.1], [1], 1.5), "within 0 and 1, got 1.5"),
        (lambda: owl_sparsities([0.1], [1], 0.5, -0.1), "reach must be finite and not negative"),
        (lambda: owl_sparsities([float("nan")], [1], 0.5), "shares must be within 0 and 1"),
        (lambda: outlier_share([]), "scores that are finite, got 0"),
        (lambda: outlier_share([torch.tensor([float("nan")])]), "scores that are finite"),
        (lambda: outlier_share([torch.ones(1)], times=0.0), "times must be above zero"),
    ],
)
def test_what_has_no_meaning_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
