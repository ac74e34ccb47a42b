import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.outlier_layers import outlier_layer
from reference.quantization.affine import (
    channel_range,
    exact_matmul,
    quantize,
    symmetric_grid,
    token_range,
)
from reference.quantization.llm_int8 import LlmInt8Linear, decomposed_product, outliers
from reference.statistics import input_statistics


def test_threshold_zero_is_the_float_product_to_the_bit():
    x, weight = torch.randn(5, 16), torch.randn(4, 16)
    assert torch.equal(decomposed_product(x, weight, 0.0), F.linear(x, weight))


def test_threshold_infinity_is_the_integer_product_to_the_bit():
    x, weight = torch.randn(5, 16), torch.randn(4, 16)
    rows, columns = symmetric_grid(token_range(x)), symmetric_grid(channel_range(weight))
    sums = exact_matmul(quantize(x, rows), quantize(weight, columns))
    expected = sums * (rows.scale * columns.scale.flatten())
    assert torch.equal(decomposed_product(x, weight, math.inf), expected.float())


def test_outliers_are_the_inputs_that_reach_the_threshold_anywhere():
    x = torch.zeros(2, 3, 4)
    x[1, 2, 1], x[0, 0, 3] = -6.0, 5.9
    assert outliers(x).tolist() == [False, True, False, False]


@pytest.mark.parametrize("seed", range(4))
def test_keeping_outliers_in_floats_removes_most_of_the_error(seed):
    """A tenth is far above what was seen (a thousandth), and far below chance."""
    layer = outlier_layer(seed)
    exact = layer.inputs @ layer.weight.T

    def error(threshold):
        product = decomposed_product(layer.inputs, layer.weight, threshold)
        return (product - exact).square().sum()

    assert 0 < outliers(layer.inputs, 10.0).sum() <= 8
    assert error(10.0) < 0.1 * error(math.inf)


@pytest.mark.parametrize("threshold", [0.0, 3.0, math.inf])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_is_the_product_on_the_inputs_that_calibrated_it(threshold, bias):
    linear = nn.Linear(16, 4, bias=bias)
    x = torch.randn(3, 7, 16) * torch.linspace(0.1, 4, 16)
    layer = LlmInt8Linear(linear, input_statistics([x]), threshold)
    product = decomposed_product(x, linear.weight.detach(), threshold)
    expected = product if linear.bias is None else product + linear.bias
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_only_outliers_are_stored_in_floats():
    linear = nn.Linear(64, 32)
    x = torch.randn(10, 64)
    x[:, 7] *= 100
    layer = LlmInt8Linear(linear, input_statistics([x]))
    assert layer.outlier_weight.shape == (32, 1)
    assert (layer.codes.shape, layer.codes.dtype) == ((32, 63), torch.int8)


def test_thresholds_without_meaning_are_refused():
    for bad in (-1.0, math.nan):
        with pytest.raises(ValueError, match="threshold must be at least 0"):
            outliers(torch.randn(2, 2), bad)
    with pytest.raises(ValueError, match="inf or nan"):
        outliers(torch.tensor([[math.inf]]))
