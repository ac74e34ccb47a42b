import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bench.outlier_layers import outlier_layer
from reference.quantization.affine import tensor_range, token_range
from reference.quantization.dynamic import DynamicLinear
from reference.quantization.smoothquant import search_alpha, smooth_scale, w8a8
from reference.statistics import input_statistics

RANGES = {"tensor": tensor_range, "token": token_range}


@given(st.floats(0, 1))
def test_outputs_are_the_same_for_any_alpha(alpha):
    layer = outlier_layer(0, d_out=8, d_in=32, tokens=50, rank=8)
    scale = smooth_scale(layer.statistics, [layer.weight], alpha)
    moved = (layer.inputs / scale) @ (layer.weight * scale).T
    assert torch.allclose(moved, layer.inputs @ layer.weight.T, atol=1e-10)


def test_one_half_makes_both_sides_equally_hard():
    layer = outlier_layer(0)
    scale = smooth_scale(layer.statistics, [layer.weight], 0.5)
    hardest = (layer.weight * scale).abs().amax(0)
    assert torch.allclose((layer.inputs / scale).abs().amax(0), hardest, rtol=1e-12)


def test_the_ends_flatten_one_side():
    layer = outlier_layer(0)
    inputs, weight = layer.statistics, layer.weight
    flat_weight = (weight * smooth_scale(inputs, [weight], 0.0)).abs().amax(0)
    flat_input = (layer.inputs / smooth_scale(inputs, [weight], 1.0)).abs().amax(0)
    assert torch.allclose(flat_weight, torch.ones_like(flat_weight))
    assert torch.allclose(flat_input, torch.ones_like(flat_input))


@pytest.mark.parametrize("seed", range(8))
def test_one_half_gains_five_times_over_nothing(seed):
    """research anchor: 13 times on average, with one step for all activations."""
    layer = outlier_layer(seed)
    exact = layer.held_out @ layer.weight.T

    def error(scale=None):
        return (w8a8(layer.held_out, layer.weight, tensor_range, scale) - exact).square().sum()

    assert error() >= 5 * error(smooth_scale(layer.statistics, [layer.weight], 0.5))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", RANGES)
def test_search_is_never_worse_than_nothing_or_one_half(seed, name):
    layer = outlier_layer(seed, d_out=16, d_in=64)
    found = search_alpha(layer.inputs, layer.statistics, [layer.weight], RANGES[name])
    half = smooth_scale(layer.statistics, [layer.weight], 0.5)
    exact = layer.inputs @ layer.weight.T
    of_half = (w8a8(layer.inputs, layer.weight, RANGES[name], half) - exact).square().mean()
    assert found.error <= min(found.plain_error, of_half.item() * (1 + 1e-12))


def test_best_alpha_lies_inside_on_outlier_channels():
    layer = outlier_layer(0)
    assert 0 < search_alpha(layer.inputs, layer.statistics, [layer.weight]).alpha < 1


@pytest.mark.parametrize("name", RANGES)
def test_floats_are_what_the_integer_layer_computes(name):
    """Six digits: a sum in float32 against one of integers, scaled once."""
    linear = nn.Linear(32, 8, bias=False)
    x = torch.randn(5, 32)
    integers = DynamicLinear(linear, RANGES[name])(x)
    assert torch.allclose(w8a8(x, linear.weight.detach(), RANGES[name]), integers, atol=1e-5)


def test_channels_without_a_value_keep_scale_one():
    x, weight = torch.randn(9, 4), torch.randn(3, 4)
    x[:, 1], weight[:, 2] = 0, 0
    scale = smooth_scale(input_statistics([x]), [weight], 0.5)
    assert scale[1] == scale[2] == 1
    assert torch.isfinite(scale).all()


def test_bad_settings_are_refused():
    inputs = input_statistics([torch.randn(3, 4)])
    with pytest.raises(ValueError, match="alpha must be in"):
        smooth_scale(inputs, [torch.randn(2, 4)], 1.5)
    with pytest.raises(ValueError, match="no weight"):
        smooth_scale(inputs, [], 0.5)
    with pytest.raises(ValueError, match="does not read 4 inputs"):
        smooth_scale(inputs, [torch.randn(2, 5)], 0.5)
