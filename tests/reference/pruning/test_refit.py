import pytest
import torch

from bench.outlier_layers import outlier_layer
from reference.pruning.gradient.obs import removed_at_once
from reference.pruning.gradient.refit import refit, rows_at_once
from reference.pruning.masks import row_mask
from reference.statistics import input_statistics


def small(seed: int = 0):
    return outlier_layer(seed, d_out=6, d_in=24, tokens=200, rank=8)


def half(layer):
    return row_mask(torch.rand(layer.weight.shape).double(), 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_a_row_is_least_squares_on_the_inputs_it_kept(seed):
    layer = small(seed)
    mask = half(layer)
    found = refit(layer.weight, layer.statistics, mask).weight
    for row, kept in enumerate(mask):
        target = layer.inputs @ layer.weight[row]
        best = torch.linalg.lstsq(layer.inputs[:, kept], target.unsqueeze(1)).solution[:, 0]
        assert torch.allclose(found[row, kept], best, atol=1e-8)  # condition of some thousands
        assert not found[row, ~kept].any()


def test_it_is_where_the_surgeon_ends():
    layer = small()
    mask = half(layer)
    inverse = layer.statistics.gram.inverse().expand(6, -1, -1)
    expected, cost = removed_at_once(layer.weight, inverse, mask)
    found = refit(layer.weight, layer.statistics, mask).weight
    assert torch.allclose(found, expected, atol=1e-8)
    error = layer.statistics.output_error(found - layer.weight)
    assert torch.allclose(error, 2 * cost, rtol=1e-6)


def test_nothing_near_it_is_better():
    layer = small()
    mask = half(layer)
    found = refit(layer.weight, layer.statistics, mask).weight
    least = layer.statistics.output_error(found - layer.weight)
    for size in (1e-3, 1e-1):
        near = found + size * torch.randn(6, 24).double() * mask
        assert (layer.statistics.output_error(near - layer.weight) > least).all()


def test_of_fewer_tokens_than_inputs_the_nearest_best_row_is_taken():
    layer = small()
    few = input_statistics([layer.inputs[:5]])
    mask = half(layer)
    found = refit(layer.weight, few, mask).weight
    assert few.output_error(found - layer.weight).max() < 1e-12 * few.gram.diagonal().max()
    for row, kept in enumerate(mask):
        x = layer.inputs[:5, kept]
        lost = layer.inputs[:5, ~kept] @ layer.weight[row, ~kept]
        assert torch.allclose(
            found[row, kept] - layer.weight[row, kept], x.pinverse() @ lost, atol=1e-7
        )


def test_a_full_mask_changes_nothing_and_an_empty_one_leaves_nothing():
    layer = small()
    full = torch.ones_like(layer.weight, dtype=torch.bool)
    assert torch.equal(refit(layer.weight, layer.statistics, full).weight, layer.weight)
    assert not refit(layer.weight, layer.statistics, ~full).weight.any()


def test_rows_in_parts_are_rows_at_once(monkeypatch):
    layer = small()
    mask = half(layer)
    whole = refit(layer.weight, layer.statistics, mask).weight
    monkeypatch.setattr("reference.pruning.gradient.refit.NUMBERS_AT_ONCE", 2 * 24**2)
    assert rows_at_once(24) == 2
    assert torch.allclose(refit(layer.weight, layer.statistics, mask).weight, whole, atol=1e-12)


def test_a_weight_of_other_inputs_is_refused():
    layer = small()
    with pytest.raises(ValueError, match=r"shape \(6, 23\) does not read 24 inputs"):
        refit(layer.weight[:, 1:], layer.statistics, half(layer)[:, 1:])
