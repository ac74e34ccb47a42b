import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from reference.quantization.affine import (
    Range,
    asymmetric_grid,
    channel_range,
    dequantize,
    fake_quantize,
    fit_int32,
    full_symmetric_grid,
    group_range,
    integer_matmul,
    power_of_two_grid,
    quantize,
    symmetric_grid,
    tensor_range,
    token_range,
)

GRIDS = [asymmetric_grid, symmetric_grid, full_symmetric_grid, power_of_two_grid]
FLOAT32_EPS = 2.0**-23

every_grid = pytest.mark.parametrize("make_grid", GRIDS)
bit_widths = st.sampled_from([*range(2, 9), 16])
finite = st.floats(-1e6, 1e6, width=32)
tensors = st.lists(finite, min_size=1, max_size=40).map(torch.tensor)


@every_grid
@given(tensors, bit_widths)
def test_error_is_at_most_half_a_step_inside_the_range(make_grid, x, bits):
    grid = make_grid(tensor_range(x), bits)
    error = (x.double() - fake_quantize(x, grid).double()).abs()
    # x / s and back are computed in float32: an eps each on up to 2**bits steps
    assert (error <= grid.scale.double() * (0.5 + 2 ** (bits + 1) * FLOAT32_EPS)).all()


@every_grid
@given(tensors, bit_widths)
def test_quantizing_twice_is_quantizing_once(make_grid, x, bits):
    grid = make_grid(tensor_range(x), bits)
    once = quantize(x, grid)
    assert torch.equal(quantize(dequantize(once, grid), grid), once)


@every_grid
@given(st.tuples(finite, finite).map(sorted), bit_widths)
def test_zero_is_exactly_representable(make_grid, ends, bits):
    grid = make_grid(Range(*map(torch.tensor, ends)), bits)
    assert grid.qmin <= grid.zero_point <= grid.qmax
    assert fake_quantize(torch.zeros(1), grid).item() == 0.0


@every_grid
@given(tensors, bit_widths)
def test_codes_keep_the_order_of_values(make_grid, x, bits):
    codes = quantize(x.sort().values, make_grid(tensor_range(x), bits))
    assert (codes.diff() >= 0).all()


@pytest.mark.parametrize("bits", range(2, 9))
def test_asymmetric_grid_uses_every_code(bits):
    x = torch.linspace(-1, 2, 3 * 2**bits + 1)
    codes = quantize(x, asymmetric_grid(tensor_range(x), bits))
    assert codes.unique().tolist() == list(range(2**bits))


def test_worked_example_of_the_docstring():
    span = Range(torch.tensor(-3.5), torch.tensor(10.2))
    grid = asymmetric_grid(span, 4)
    assert grid.scale.item() == pytest.approx(13.7 / 15)
    assert grid.zero_point.item() == 4
    assert quantize(torch.tensor(-3.5), symmetric_grid(span, 4)).item() == -2


def test_range_is_extended_to_zero_on_both_sides():
    above = asymmetric_grid(Range(torch.tensor(2.0), torch.tensor(5.1)))
    below = asymmetric_grid(Range(torch.tensor(-5.1), torch.tensor(-2.0)))
    assert (above.zero_point.item(), below.zero_point.item()) == (0, 255)
    assert above.scale.item() == below.scale.item() == pytest.approx(5.1 / 255)


def test_signed_codes_are_the_unsigned_ones_shifted():
    x = torch.randn(100)
    unsigned = quantize(x, asymmetric_grid(tensor_range(x)))
    signed = quantize(x, asymmetric_grid(tensor_range(x), signed=True))
    assert torch.equal(unsigned - 128, signed)


@pytest.mark.parametrize("bits", range(2, 9))
def test_restricted_symmetric_grid_is_closed_under_negation(bits):
    x = torch.randn(200)
    grid = symmetric_grid(tensor_range(x), bits)
    assert grid.qmin == -grid.qmax
    assert torch.equal(quantize(-x, grid), -quantize(x, grid))


@pytest.mark.parametrize("bits", range(2, 9))
def test_full_symmetric_step_is_finer_by_one_code_in_all(bits):
    span = tensor_range(torch.randn(50))
    ratio = full_symmetric_grid(span, bits).scale / symmetric_grid(span, bits).scale
    assert ratio.item() == pytest.approx((2**bits - 2) / (2**bits - 1), rel=4 * FLOAT32_EPS)


@given(st.floats(1e-20, 1e20), bit_widths)
def test_power_of_two_step_is_the_next_power_of_two(top, bits):
    span = Range(torch.tensor(-top), torch.tensor(top))
    exact = symmetric_grid(span, bits).scale.item()
    step = power_of_two_grid(span, bits).scale.item()
    assert torch.frexp(torch.tensor(step)).mantissa.item() == 0.5
    assert exact <= step < 2 * exact


@every_grid
@pytest.mark.parametrize("constant", [0.0, 3.7, -2.5, 1e-30, 3e38, -3e38])
def test_constant_tensor_is_kept(make_grid, constant):
    x = torch.full((5,), constant)
    grid = make_grid(tensor_range(x))
    kept = fake_quantize(x, grid)
    assert torch.isfinite(kept).all()
    assert ((kept.double() - x.double()).abs() <= grid.scale.double() * 0.5001).all()


def test_all_zero_channel_has_a_defined_grid_beside_others():
    x = torch.stack([torch.zeros(8), torch.randn(8)])
    grid = symmetric_grid(channel_range(x))
    assert grid.scale[0].item() == 1.0
    assert torch.equal(fake_quantize(x, grid)[0], torch.zeros(8))


def test_widest_float32_range_does_not_overflow():
    span = Range(torch.tensor(-3.4e38), torch.tensor(3.4e38))
    assert torch.isfinite(asymmetric_grid(span).scale)


def test_ranges_have_the_shape_that_broadcasts():
    x = torch.randn(8, 3, 5, 4)
    assert tensor_range(x).low.shape == ()
    assert channel_range(x).low.shape == (8, 1, 1, 1)
    assert channel_range(x, axis=-3).high.shape == (1, 3, 1, 1)
    assert token_range(x).low.shape == (8, 3, 5, 1)
    assert group_range(x, 2).high.shape == x.shape


def test_group_of_one_row_is_the_row_and_group_of_one_is_exact():
    x = torch.randn(4, 12)
    row = symmetric_grid(token_range(x))
    assert torch.equal(fake_quantize(x, symmetric_grid(group_range(x, 12))), fake_quantize(x, row))
    alone = fake_quantize(x, symmetric_grid(group_range(x, 1)))
    torch.testing.assert_close(alone, x, rtol=2 * FLOAT32_EPS, atol=0)


def test_groups_do_not_see_each_other():
    x = torch.randn(4, 12)
    changed = x.clone()
    changed[:, 8:] *= 100
    grids = [symmetric_grid(group_range(each, 4), 4) for each in (x, changed)]
    first, second = (fake_quantize(*pair) for pair in zip((x, changed), grids, strict=True))
    assert torch.equal(first[:, :8], second[:, :8])


@given(st.integers(0, 10_000), bit_widths)
def test_per_channel_step_is_never_above_the_per_tensor_step(seed, bits):
    x = torch.randn(6, 10, generator=torch.Generator().manual_seed(seed))
    whole = asymmetric_grid(tensor_range(x), bits).scale
    assert (asymmetric_grid(channel_range(x), bits).scale <= whole).all()


def test_per_channel_error_is_lower_over_a_whole_layer():
    x = torch.randn(64, 128) * torch.logspace(-2, 0, 64).unsqueeze(1)
    errors = [
        (x - fake_quantize(x, symmetric_grid(span, 4))).square().mean()
        for span in (channel_range(x), tensor_range(x))
    ]
    assert errors[0] < errors[1]


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 5),
    inner=st.integers(1, 40),
    per_token=st.booleans(),
)
def test_integer_matmul_equals_subtracting_the_zero_points_first(seed, rows, inner, per_token):
    draw = torch.Generator().manual_seed(seed)
    a = torch.randint(0, 256, (rows, inner), generator=draw, dtype=torch.int32)
    weight = torch.randint(-128, 128, (7, inner), generator=draw, dtype=torch.int32)
    a_zero = torch.randint(0, 256, (rows, 1) if per_token else (), generator=draw)
    weight_zero = torch.randint(-128, 128, (7, 1), generator=draw)
    expected = (a - a_zero).long() @ (weight - weight_zero).long().T
    assert torch.equal(integer_matmul(a, weight, a_zero, weight_zero).long(), expected)


@pytest.mark.parametrize("weight_grid", [asymmetric_grid, symmetric_grid])
def test_integer_matmul_equals_fake_quantised_matmul(weight_grid):
    x, weight = torch.randn(9, 64).double(), torch.randn(5, 64).double()
    x_grid, w_grid = asymmetric_grid(token_range(x)), weight_grid(channel_range(weight))
    sums = integer_matmul(
        quantize(x, x_grid), quantize(weight, w_grid), x_grid.zero_point, w_grid.zero_point
    )
    integer = sums * (x_grid.scale * w_grid.scale.T)
    simulated = fake_quantize(x, x_grid) @ fake_quantize(weight, w_grid).T
    # float64: 64 terms of size below 20, each with a relative error of 1.1e-16
    torch.testing.assert_close(integer, simulated, rtol=0, atol=64 * 20 * 1.2e-16)
    assert torch.equal((simulated / (x_grid.scale * w_grid.scale.T)).round().int(), sums)


def test_accumulator_holds_65793_products_and_refuses_to_wrap():
    a = torch.full((1, 65_793), 255)
    weight = torch.full((1, 65_793), -128)
    zero = torch.tensor(0)
    assert integer_matmul(a, weight, zero, zero).item() == -255 * 128 * 65_793
    with pytest.raises(OverflowError, match="int32"):
        fit_int32(torch.tensor([2**31]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_dtype_keeps_its_dtype_and_its_error_bound(dtype):
    x = torch.randn(20, 30).to(dtype)
    grid = asymmetric_grid(tensor_range(x))
    rounded = fake_quantize(x, grid)
    assert rounded.dtype == dtype
    assert grid.scale.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    bound = grid.scale.double() * 0.5001 + x.double().abs() * torch.finfo(dtype).eps
    assert ((x.double() - rounded.double()).abs() <= bound).all()


def test_half_precision_gives_the_codes_of_the_same_values_in_float32():
    x = (torch.randn(500) * 1000).half()
    grid = asymmetric_grid(tensor_range(x))
    assert torch.equal(quantize(x, grid), quantize(x.float(), grid))


def test_non_contiguous_input_gives_the_same_codes():
    x = torch.randn(6, 8).T[::2]
    assert not x.is_contiguous()
    for span in (channel_range(x), token_range(x), group_range(x, 3)):
        grid = symmetric_grid(span)
        assert torch.equal(quantize(x, grid), quantize(x.contiguous(), grid))


def test_input_is_not_modified():
    x = torch.randn(5, 5)
    before = x.clone()
    fake_quantize(x, asymmetric_grid(group_range(x, 5)))
    assert torch.equal(x, before)


@every_grid
@pytest.mark.parametrize("bits", [-1, 0, 1, 9, 15, 17, 32])
def test_bits_outside_2_to_8_and_16_are_refused(make_grid, bits):
    with pytest.raises(ValueError, match=f"2 to 8, got {bits}"):
        make_grid(tensor_range(torch.randn(3)), bits)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused(bad):
    x = torch.tensor([1.0, bad])
    grid = asymmetric_grid(tensor_range(torch.ones(2)))
    for attempt in (tensor_range, token_range, channel_range, lambda x: quantize(x, grid)):
        with pytest.raises(ValueError, match="inf or nan"):
            attempt(x)


def test_bad_shapes_and_ranges_are_refused():
    with pytest.raises(ValueError, match="no values"):
        tensor_range(torch.empty(0, 3))
    with pytest.raises(ValueError, match="10 features do not split into groups of 4"):
        group_range(torch.randn(2, 10), 4)
    with pytest.raises(ValueError, match="upside down"):
        asymmetric_grid(Range(torch.tensor(1.0), torch.tensor(-1.0)))
    with pytest.raises(ValueError, match=r"axis is 2; a tensor of shape \(3, 4\) has 2 axes"):
        channel_range(torch.randn(3, 4), axis=2)
    with pytest.raises(ValueError, match="has 0 axes"):
        channel_range(torch.tensor(1.0))


@given(tensors)
def test_scaling_the_input_by_a_power_of_two_keeps_the_codes(x):
    assume(x.abs().max() > 1e-20)  # below, float32 loses bits and the step meets its floor
    grids = [asymmetric_grid(tensor_range(each)) for each in (x, x * 4)]
    assert torch.equal(quantize(x, grids[0]), quantize(x * 4, grids[1]))
