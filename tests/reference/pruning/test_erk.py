"""Claims about densities of layers. 1e-9 is float64's over sums of a few thousand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.pruning.erk import (
    erdos_renyi,
    erdos_renyi_kernel,
    erk_densities,
    erk_sparsities,
    uniform_sparsities,
)
from reference.pruning.masks import layer_masks, removed_count

RATIOS = [erdos_renyi, erdos_renyi_kernel]
every_ratio = pytest.mark.parametrize("ratio", RATIOS)
SIDE = st.integers(1, 12)
SHAPE = st.one_of(st.tuples(SIDE, SIDE), st.tuples(SIDE, SIDE, st.integers(1, 3), SIDE))
SHAPES = st.lists(SHAPE, min_size=1, max_size=6)
SHARE = st.floats(0, 1)


def weights(shapes) -> dict[str, torch.Tensor]:
    return {str(i): torch.rand(shape) for i, shape in enumerate(shapes)}


def kept_by(given_weights, sparsities) -> int:
    return sum(int(each.sum()) for each in layer_masks(given_weights, sparsities).values())


@every_ratio
@given(SHAPES, SHARE)
def test_layers_together_keep_what_one_sparsity_for_all_keeps(ratio, shapes, sparsity):
    given_weights = weights(shapes)
    total = sum(each.numel() for each in given_weights.values())
    kept = kept_by(given_weights, erk_sparsities(given_weights, sparsity, ratio))
    assert kept == total - removed_count(total, sparsity)


@every_ratio
@given(SHAPES, SHARE)
def test_densities_are_the_ratio_times_one_number_or_1(ratio, shapes, sparsity):
    given_weights = weights(shapes)
    densities = erk_densities(given_weights, sparsity, ratio)
    sizes = {name: each.numel() for name, each in given_weights.items()}
    budget = sum(sizes.values()) - removed_count(sum(sizes.values()), sparsity)
    epsilon = bisected(given_weights, ratio, budget)
    for name, each in given_weights.items():
        assert densities[name] == pytest.approx(min(1, epsilon * ratio(each.shape)), abs=1e-6)
    assert sum(densities[name] * sizes[name] for name in sizes) == pytest.approx(budget, rel=1e-9)


def bisected(given_weights, ratio, budget: int) -> float:
    """The epsilon whose capped densities meet the budget, which grows with it."""
    low, high = 0.0, 2.0 / min(ratio(each.shape) for each in given_weights.values())
    for _ in range(80):
        middle = (low + high) / 2
        spent = sum(
            min(1, middle * ratio(each.shape)) * each.numel() for each in given_weights.values()
        )
        low, high = (middle, high) if spent < budget else (low, middle)
    return low


@every_ratio
@given(SHAPES, SHARE)
def test_rounding_moves_no_layer_by_a_whole_weight(ratio, shapes, sparsity):
    given_weights = weights(shapes)
    densities = erk_densities(given_weights, sparsity, ratio)
    rounded = erk_sparsities(given_weights, sparsity, ratio)
    for name, each in given_weights.items():
        assert abs(1 - rounded[name] - densities[name]) * each.numel() < 1 + 1e-9


@given(SHAPES)
def test_sparsity_0_keeps_all_and_1_removes_all(shapes):
    given_weights = weights(shapes)
    assert set(erk_sparsities(given_weights, 0.0).values()) == {0.0}
    assert set(erk_sparsities(given_weights, 1.0).values()) == {1.0}


def test_a_small_layer_is_kept_whole_and_the_large_one_pays():
    given_weights = {"large": torch.rand(300, 300), "small": torch.rand(10, 3)}
    sparsities = erk_sparsities(given_weights, 0.9)
    assert sparsities["small"] == 0
    assert sparsities["large"] > 0.9


def test_a_kernel_is_kept_denser_by_its_size_only_where_it_counts():
    given_weights = {"one": torch.rand(64, 64, 1, 1), "three": torch.rand(64, 64, 3, 3)}
    with_kernel = erk_densities(given_weights, 0.9)
    without = erk_densities(given_weights, 0.9, erdos_renyi)
    assert without["one"] == pytest.approx(without["three"])
    assert with_kernel["one"] / with_kernel["three"] == pytest.approx(9 * 130 / 134)


def test_the_control_treats_all_layers_alike():
    assert uniform_sparsities(weights([(3, 4), (5, 6)]), 0.3) == {"0": 0.3, "1": 0.3}


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match=r"'a' has shape \(3,\); expected inputs and outputs"):
        erk_sparsities({"a": torch.rand(3)}, 0.5)


def test_a_sparsity_beyond_1_is_refused():
    with pytest.raises(ValueError, match=r"within 0 and 1, got 1\.5"):
        erk_sparsities({"a": torch.rand(3, 3)}, 1.5)
