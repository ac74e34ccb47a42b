from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.quantization.affine import (
    Grid,
    Range,
    asymmetric_grid,
    channel_range,
    fake_quantize,
    integer_matmul,
    quantize,
    symmetric_grid,
    tensor_range,
)
from reference.quantization.integer import (
    grid_with_room_for_bias,
    multiplier,
    quantize_bias,
    requantize,
    saturating_matmul,
)


def test_bias_step_is_the_product_of_the_steps_of_input_and_weight():
    bias = torch.tensor([0.5, -0.25, 1e9])
    scales = torch.tensor([0.1, 0.05, 1e-3]).reshape(3, 1)
    codes = quantize_bias(bias, torch.tensor(0.02), scales)
    assert codes.tolist() == [250, -250, 2**31 - 1]  # the last one saturates


@given(st.floats(2.0**-29, 2.0**29))
def test_multiplier_is_a_normalised_mantissa_and_a_shift(scale):
    factor = multiplier(torch.tensor([scale], dtype=torch.float64))
    mantissa, shift = factor.mantissa.item(), factor.shift.item()
    assert 2**30 <= mantissa <= 2**31
    exact = Fraction(mantissa, 2**31) / Fraction(2) ** shift
    assert abs(exact / Fraction(scale) - 1) <= Fraction(1, 2**31)  # half a unit of a 31-bit M0


@given(st.integers(-(2**31) + 1, 2**31 - 1), st.floats(1e-7, 0.9))
def test_requantizing_in_integers_equals_rounding_the_exact_product(total, scale):
    factor = multiplier(torch.tensor([scale], dtype=torch.float64))
    exact = total * Fraction(factor.mantissa.item(), 2**31) / Fraction(2) ** factor.shift.item()
    expected = min(255, max(0, (exact + Fraction(1, 2)).__floor__() + 3))
    output = Grid(torch.tensor(1.0), torch.tensor(3, dtype=torch.int32), 0, 255)
    codes = requantize(torch.tensor([total], dtype=torch.int32), factor, output)
    assert codes.item() == expected


def test_requantized_codes_are_within_one_of_quantizing_the_float_output():
    sums = torch.randint(-(10**6), 10**6, (500,), dtype=torch.int32)
    output = asymmetric_grid(Range(torch.tensor(-900.0), torch.tensor(1000.0)))
    scale = torch.tensor([1.1e-3], dtype=torch.float64)
    integer = requantize(sums, multiplier(scale / output.scale.double()), output)
    assert (integer - quantize(sums * scale, output)).abs().max() <= 1  # only ties may differ


@given(st.integers(0, 10_000))
def test_a_whole_layer_in_integers_is_within_one_code_of_its_fake_quantised_form(seed):
    torch.manual_seed(seed)
    x, weight, bias = torch.randn(9, 64), torch.randn(5, 64), torch.randn(5)
    x_grid, w_grid = asymmetric_grid(tensor_range(x)), symmetric_grid(channel_range(weight))
    y_grid = asymmetric_grid(tensor_range(x @ weight.T + bias))
    sums = integer_matmul(
        quantize(x, x_grid), quantize(weight, w_grid), x_grid.zero_point, w_grid.zero_point
    )
    biased = sums + quantize_bias(bias, x_grid.scale, w_grid.scale)
    scale = (x_grid.scale.double() * w_grid.scale.double() / y_grid.scale.double()).flatten()
    codes = requantize(biased, multiplier(scale), y_grid)
    simulated = fake_quantize(x, x_grid).double() @ fake_quantize(weight, w_grid).double().T + bias
    # the bias is off by half a step of the accumulator, far below a step of y; the rest are ties
    assert (codes - quantize(simulated, y_grid)).abs().max() <= 1


def test_multiplier_that_rounds_up_to_one_stays_an_int32():
    factor = multiplier(torch.tensor([1 - 2.0**-40, 2 - 2.0**-39], dtype=torch.float64))
    assert factor.mantissa.tolist() == [2**30, 2**30]
    assert factor.shift.tolist() == [-1, -2]


@pytest.mark.parametrize("scale", [0.0, -1.0, 2.0**-31, 2.0**30, float("nan"), float("inf")])
def test_multiplier_that_no_shift_holds_is_refused(scale):
    with pytest.raises(ValueError, match="multiplier"):
        multiplier(torch.tensor([scale]))


def test_bias_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="inf or nan"):
        quantize_bias(torch.tensor([float("nan")]), torch.tensor(1.0), torch.tensor([1.0]))


def test_pairs_in_int16_saturate_with_8_bit_weights():
    a, weight = torch.full((1, 4), 255), torch.full((1, 4), 127)
    assert saturating_matmul(a, weight).item() == 2 * (2**15 - 1)
    assert saturating_matmul(a, -weight).item() == -2 * 2**15
    assert integer_matmul(a, weight, torch.tensor(0), torch.tensor(0)).item() == 4 * 255 * 127


@given(st.integers(0, 10_000), st.integers(1, 33))
def test_pairs_in_int16_are_exact_with_7_bit_weights(seed, inner):
    draw = torch.Generator().manual_seed(seed)
    a = torch.randint(0, 256, (3, inner), generator=draw)
    weight = torch.randint(-64, 65, (4, inner), generator=draw)
    zero = torch.tensor(0)
    assert torch.equal(saturating_matmul(a, weight), integer_matmul(a, weight, zero, zero))


def test_a_bias_far_larger_than_its_weights_survives():
    """A channel of weights near 1e-9 would need bias codes beyond 2**31."""
    weight, bias = torch.tensor([[1e-9, -2e-9], [0.5, 0.3]]), torch.tensor([0.7, -0.2])
    grid = symmetric_grid(channel_range(weight))
    wide = grid_with_room_for_bias(grid, torch.tensor(0.02), bias)
    codes = quantize_bias(bias, torch.tensor(0.02), wide.scale)
    assert torch.allclose(codes * (0.02 * wide.scale).flatten(), bias, rtol=1e-6)
    assert torch.equal(wide.scale[1], grid.scale[1])  # the others keep their steps
    lost = quantize_bias(bias, torch.tensor(0.02), grid.scale) * (0.02 * grid.scale).flatten()
    assert (lost[0] - bias[0]).abs() > 0.1


def test_one_step_for_all_channels_has_room_for_the_largest_bias():
    grid = symmetric_grid(tensor_range(torch.tensor([[1e-9, -2e-9]])))
    bias = torch.tensor([0.1, -0.7])
    wide = grid_with_room_for_bias(grid, torch.tensor(0.02), bias)
    assert wide.scale.shape == grid.scale.shape
    codes = quantize_bias(bias, torch.tensor(0.02), wide.scale.expand(2))
    assert torch.allclose(codes * 0.02 * wide.scale, bias, rtol=1e-6)
