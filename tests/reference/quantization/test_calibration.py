from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.quantization.aciq import gaussian as gaussian_law
from reference.quantization.aciq import laplace as laplace_law
from reference.quantization.affine import (
    Range,
    asymmetric_grid,
    channel_range,
    fake_quantize,
    power_of_two_grid,
    symmetric_grid,
    tensor_range,
    token_range,
)
from reference.quantization.calibration import (
    joined,
    mean_squared_error,
    min_max,
    moving_average,
    narrowed,
    percentile,
    squared_error,
)
from reference.quantization.entropy import entropy

CALIBRATORS = [
    min_max,
    moving_average,
    percentile,
    mean_squared_error,
    entropy,
    gaussian_law,
    laplace_law,
]

every_calibrator = pytest.mark.parametrize("calibrate", CALIBRATORS)


def batches(count=4, size=250, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=draw) * (1 + index) for index in range(count)]


def gaussian(count=100_000):
    """Evenly spaced quantiles of a standard normal: a sample without sampling noise."""
    return torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)


@every_calibrator
def test_range_is_within_what_was_seen(calibrate):
    low, high = calibrate(batches())
    whole = joined(batches())
    magnitude = whole.abs().max() * (1 + 1e-6)  # entropy's is symmetric; float32 rounding
    assert -magnitude <= low <= 0 <= high <= magnitude


@every_calibrator
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_dtype_and_shape_gives_a_usable_grid(calibrate, dtype):
    span = calibrate([torch.randn(4, 3, 5).to(dtype).transpose(0, 2), torch.randn(7).to(dtype)])
    assert asymmetric_grid(span).scale > 0


@every_calibrator
@pytest.mark.parametrize("value", [0.0, 2.0, -2.0])
def test_constant_activation_gives_a_usable_grid(calibrate, value):
    span = calibrate([torch.full((300,), value)])
    assert asymmetric_grid(span).scale > 0


@every_calibrator
def test_no_batches_and_bad_values_are_refused(calibrate):
    with pytest.raises(ValueError, match="at least one batch"):
        calibrate([])
    with pytest.raises(ValueError, match="inf or nan"):
        calibrate([torch.tensor([1.0, float("nan")])])


@given(st.permutations(range(4)))
def test_min_max_does_not_depend_on_batch_order(order):
    given_batches = batches()
    assert min_max([given_batches[index] for index in order]) == min_max(given_batches)


def test_moving_average_depends_on_batch_order():
    assert moving_average(batches()) != moving_average(batches()[::-1])


def test_moving_average_follows_its_recurrence():
    sample = [torch.tensor([-1.0, 1.0]), torch.tensor([-3.0, 2.0]), torch.tensor([-1.0, 8.0])]
    low, high = moving_average(sample, momentum=0.75)
    assert low.item() == pytest.approx(0.75 * (0.75 * -1 + 0.25 * -3) + 0.25 * -1)
    assert high.item() == pytest.approx(0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 8)


def test_moving_average_without_memory_is_the_last_batch():
    assert moving_average(batches(), momentum=0.0) == min_max(batches()[-1:])


def test_percentile_100_is_min_max():
    assert percentile(batches(), 100.0) == min_max(batches())


@given(st.lists(st.floats(50.5, 100), min_size=2, max_size=6))
def test_percentile_range_grows_with_the_percentile(percents):
    ranges = [percentile(batches(), percent) for percent in sorted(percents)]
    assert all(a.low >= b.low and a.high <= b.high for a, b in pairwise(ranges))


@given(st.randoms(use_true_random=False))
def test_percentile_does_not_depend_on_the_order_of_values(random):
    values = joined(batches())
    order = list(range(len(values)))
    random.shuffle(order)
    assert percentile([values[order]], 99.0) == percentile([values], 99.0)


def test_percentile_cuts_each_tail_on_its_own():
    values = torch.cat([torch.arange(-10.0, 0.0), torch.arange(1000.0)])
    low, high = percentile([values], 99.0)
    assert (low.item(), high.item()) == (0.0, 989.0)  # 10 of 1010 values beyond each end


@pytest.mark.parametrize("percent", [0.0, 50.0, 100.1])
def test_percentile_out_of_range_is_refused(percent):
    with pytest.raises(ValueError, match="percent must be above 50"):
        percentile(batches(), percent)


@pytest.mark.parametrize(
    ("bits", "clip", "error"), [(2, 1.225, 0.1902), (3, 1.95, 0.04686), (4, 2.475, 0.01289)]
)
def test_mse_clip_of_a_gaussian_is_the_textbook_one(bits, clip, error):
    """Uniform quantizers with 3, 7 and 15 levels: Max 1960 (step 1.224, 0.651, 0.354)."""
    make_grid = partial(symmetric_grid, bits=bits)
    span = mean_squared_error([gaussian()], make_grid, steps=400)
    assert span.high.item() == pytest.approx(
        clip, abs=0.02
    )  # the search steps by 4.4 / 400 = 0.011
    assert squared_error(gaussian(), make_grid(span)) == pytest.approx(error, rel=2e-3)


def test_mse_clip_of_a_gaussian_in_8_bits_is_the_textbook_one():
    """256 levels: Max 1960 gives a clip of 3.95 sigma and an error of 8.8e-5."""
    span = mean_squared_error([gaussian()], steps=400)
    assert span.high.item() == pytest.approx(3.95, abs=0.06)  # the optimum is flat: 1 % in error
    # beyond the clip lie 8 of the 100 000 quantiles: too few to hold the tail's tenth of the error
    assert squared_error(gaussian(), asymmetric_grid(span)) == pytest.approx(8.8e-5, rel=0.05)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("make_grid", [asymmetric_grid, symmetric_grid])
def test_mse_search_equals_brute_force(bits, make_grid):
    make_grid = partial(make_grid, bits=bits)
    values = joined(batches())
    found = mean_squared_error([values], make_grid, steps=40)
    errors = [
        squared_error(values, make_grid(Range(values.min() * step / 40, values.max() * step / 40)))
        for step in range(1, 41)
    ]
    assert squared_error(values, make_grid(found)) == pytest.approx(min(errors), rel=1e-6)


@given(st.integers(0, 10_000), st.integers(2, 8))
def test_mse_clip_is_never_worse_than_min_max(seed, bits):
    make_grid = partial(symmetric_grid, bits=bits)
    sample = batches(seed=seed, size=60)
    errors = [
        squared_error(joined(sample), make_grid(calibrate(sample)))
        for calibrate in (partial(mean_squared_error, make_grid=make_grid, steps=20), min_max)
    ]
    assert errors[0] <= errors[1]


@pytest.mark.parametrize("make_grid", [asymmetric_grid, symmetric_grid])
def test_channels_searched_together_get_the_ranges_of_each_alone(make_grid):
    make_grid = partial(make_grid, bits=3)
    weight = torch.randn(6, 50).double() ** 3
    together = narrowed(weight, channel_range(weight), make_grid, steps=30)
    for row, low, high in zip(weight, *together, strict=True):
        assert Range(*(low[0], high[0])) == mean_squared_error([row], make_grid, steps=30)


@given(st.integers(0, 10_000), st.integers(2, 8))
def test_no_group_is_worse_off_for_its_search(seed, bits):
    weight = torch.randn(4, 48, generator=torch.Generator().manual_seed(seed)).double()
    groups = weight.unflatten(-1, (-1, 16))
    make_grid = partial(symmetric_grid, bits=bits)
    whole = token_range(groups)
    found = narrowed(groups, whole, make_grid, steps=20)
    errors = [
        (groups - fake_quantize(groups, make_grid(span))).square().sum(-1)
        for span in (found, whole)
    ]
    assert (errors[0] <= errors[1]).all()


def test_bad_momentum_and_steps_are_refused():
    with pytest.raises(ValueError, match="momentum"):
        moving_average(batches(), momentum=1.0)
    with pytest.raises(ValueError, match="steps"):
        mean_squared_error(batches(), steps=0)


def test_of_ranges_that_lose_the_same_the_widest_is_kept():
    """Steps rounded to powers of two are the same for many ranges; inputs may yet be larger."""
    values = torch.arange(-127.0, 128.0)
    assert narrowed(values, tensor_range(values), power_of_two_grid) == tensor_range(values)
