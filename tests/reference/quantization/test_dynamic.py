import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import images, resnet
from torch import nn

from reference.quantization.affine import (
    asymmetric_grid,
    channel_range,
    fake_quantize,
    quantize,
    symmetric_grid,
    tensor_range,
    token_range,
)
from reference.quantization.dynamic import DynamicLinear, quantize_dynamic
from reference.quantization.static import accumulate, quantize_layer

both_ranges = pytest.mark.parametrize("activation_range", [tensor_range, token_range])


@both_ranges
@given(seed=st.integers(0, 10_000), bias=st.booleans())
def test_integer_path_equals_the_fake_quantised_path(activation_range, seed, bias):
    torch.manual_seed(seed)
    linear, x = nn.Linear(32, 6, bias=bias).double(), torch.randn(2, 5, 32).double()
    weight = fake_quantize(linear.weight.detach(), symmetric_grid(channel_range(linear.weight)))
    rounded = fake_quantize(x, asymmetric_grid(activation_range(x)))
    expected = nn.functional.linear(rounded, weight, linear.bias)
    # float64: 32 terms of size below 1, 1.1e-16 each
    actual = DynamicLinear(linear, activation_range)(x)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-13)


def test_dynamic_equals_static_where_the_static_range_is_the_batch_range():
    linear, x = nn.Linear(32, 6), torch.randn(5, 32)
    grid = asymmetric_grid(tensor_range(x))
    dynamic, static = DynamicLinear(linear), quantize_layer(linear, grid)
    codes = quantize(x, grid)
    without_bias = static._replace(bias=None)
    sums = accumulate(linear, without_bias, codes)
    assert torch.equal(dynamic.accumulate(codes, grid), sums)


def test_a_loud_token_does_not_disturb_the_others_with_one_grid_per_token():
    linear, x = nn.Linear(32, 6), torch.randn(4, 32)
    loud = x.clone()
    loud[0] *= 1000
    per_token = DynamicLinear(linear, token_range)
    assert torch.equal(per_token(loud)[1:], per_token(x)[1:])
    per_tensor = DynamicLinear(linear, tensor_range)
    assert not torch.equal(per_tensor(loud)[1:], per_tensor(x)[1:])


def test_one_row_has_the_same_grid_either_way():
    linear, x = nn.Linear(32, 6), torch.randn(1, 32)
    assert torch.equal(DynamicLinear(linear, token_range)(x), DynamicLinear(linear)(x))


def test_nothing_saturates_however_large_the_input():
    linear, x = nn.Linear(32, 6, bias=False), torch.randn(5, 32)
    dynamic = DynamicLinear(linear)
    # a power of two changes the step and no code
    assert torch.equal(dynamic(x * 2.0**20), dynamic(x) * 2.0**20)


@both_ranges
def test_rows_of_zeros_give_the_bias(activation_range):
    linear = nn.Linear(8, 3)
    output = DynamicLinear(linear, activation_range)(torch.zeros(2, 8))
    assert torch.equal(output, linear.bias.detach().expand(2, 3))


def test_weights_are_stored_in_a_byte_each():
    linear = nn.Linear(64, 32)
    state = DynamicLinear(linear).state_dict()
    stored = sum(value.numel() * value.element_size() for value in state.values())
    assert stored == 64 * 32 + 4 * 32 + 4 * 32  # codes, steps, bias


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_half_precision(dtype):
    linear, x = nn.Linear(8, 3).to(dtype), torch.randn(2, 8).to(dtype)
    output = DynamicLinear(linear)(x)
    assert output.dtype == dtype
    assert torch.isfinite(output).all()


def test_only_linear_layers_are_replaced_and_the_model_is_not_modified():
    model = resnet()
    quantized = quantize_dynamic(model)
    assert isinstance(quantized.head, DynamicLinear)
    assert isinstance(model.head, nn.Linear)
    assert quantized(images()).shape == (4, 10)


def test_model_without_linear_layers_and_inputs_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="no linear layer"):
        quantize_dynamic(nn.Sequential(nn.Conv2d(3, 3, 1)))
    with pytest.raises(ValueError, match="inf or nan"):
        DynamicLinear(nn.Linear(2, 2))(torch.tensor([[1.0, float("inf")]]))
