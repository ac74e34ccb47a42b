import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.quantization.aciq import (
    gaussian,
    gaussian_clip,
    gaussian_error,
    laplace,
    laplace_clip,
    laplace_error,
)
from reference.quantization.affine import Range

LAWS = [(gaussian_clip, gaussian_error), (laplace_clip, laplace_error)]
COUNT = 400_001  # values of a sample that has no sampling noise: quantiles, evenly spaced
LEVELS = (torch.arange(COUNT, dtype=torch.float64) + 0.5) / COUNT
NORMAL = torch.special.ndtri(LEVELS)
DOUBLE_EXPONENTIAL = -torch.sign(LEVELS - 0.5) * torch.log1p(-2 * (LEVELS - 0.5).abs())


def mid_rise_error(values: torch.Tensor, clip: float, bits: int) -> float:
    """Of the textbook's quantizer: 2**bits cells from -clip to clip, each kept as its middle."""
    step = 2 * clip / 2**bits
    cell = ((values + clip) / step).floor().clamp(0, 2**bits - 1)
    return (values + clip - (cell + 0.5) * step).square().mean().item()


def lowest(error: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one minimum has it: golden section to 1e-6."""
    ratio = (math.sqrt(5) - 1) / 2
    while high - low > 1e-6:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if error(left) < error(right) else (left, high)
    return (low + high) / 2


@pytest.mark.parametrize(("bits", "published"), [(2, 2.83), (3, 3.89), (4, 5.03)])
def test_laplace_clips_are_the_published_ones(bits, published):
    assert laplace_clip(bits) == pytest.approx(
        published, abs=0.01
    )  # printed with two decimals, cut off


@pytest.mark.parametrize(("bits", "published"), [(2, 1.71), (3, 2.15), (4, 2.56)])
def test_gaussian_clips_are_the_published_ones(bits, published):
    assert gaussian_clip(bits) == pytest.approx(published, abs=0.01)  # printed with two decimals


@pytest.mark.parametrize(("clip", "error"), LAWS)
@pytest.mark.parametrize("bits", [*range(2, 9), 16])
def test_clip_is_where_the_formula_is_lowest(clip, error, bits):
    best = clip(bits)
    around = [error(best + step, bits) for step in (-0.01, 0.01)]
    assert error(best, bits) < min(around)
    if bits <= 8:  # a flat minimum is found to the square root of float64's 1e-16
        assert best == pytest.approx(lowest(lambda a: error(a, bits), 0.1, 30), abs=1e-4)


@pytest.mark.parametrize(
    ("values", "error"), [(NORMAL, gaussian_error), (DOUBLE_EXPONENTIAL, laplace_error)]
)
@pytest.mark.parametrize("clip", [0.5, 1.7, 3.0])
def test_what_the_formula_says_about_clipping_is_what_clipping_costs(values, error, clip):
    clipped = (values - values.clamp(-clip, clip)).square().mean().item()
    rounding = clip**2 / (3 * 4**30)
    # quantiles miss the outermost 1e-6 of probability, worth about 1e-4 of the variance
    assert error(clip, 30) - rounding == pytest.approx(clipped, rel=2e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("values", "bits", "clip"),
    [
        (NORMAL, 2, 2.00), (NORMAL, 3, 2.35), (NORMAL, 4, 2.68), (NORMAL, 8, 3.95),
        (DOUBLE_EXPONENTIAL, 2, 3.08), (DOUBLE_EXPONENTIAL, 3, 4.13), (DOUBLE_EXPONENTIAL, 4, 5.20),
    ],
)  # fmt: skip
def test_exact_optimum_of_the_textbook_quantizer_clips_later(values, bits, clip):
    """Max 1960 for the Gaussian; the published approximation and the optimum are not the same."""
    exact = lowest(lambda a: mid_rise_error(values, a, bits), 1.0, 8.0)
    assert exact == pytest.approx(clip, abs=0.02)  # of a flat minimum, with two decimals
    approximate = (gaussian_clip if values is NORMAL else laplace_clip)(bits)
    assert approximate < exact


@pytest.mark.parametrize(("bits", "error"), [(2, 0.11885), (3, 0.03744), (4, 0.01154), (8, 8.8e-5)])
def test_error_of_the_textbook_quantizer_is_the_textbook_one(bits, error):
    clip = {2: 1.99, 3: 2.344, 4: 2.681, 8: 3.95}[bits]
    # 400 001 quantiles stand for the tail beyond 4 sigma, a tenth of the error at 8 bits
    assert mid_rise_error(NORMAL, clip, bits) == pytest.approx(
        error, rel=2e-3 if bits < 8 else 0.03
    )


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_range_is_the_constant_times_the_spread_around_the_mean(bits):
    low, high = gaussian([3 + 2 * NORMAL], bits)
    assert low.item() == pytest.approx(3 - 2 * gaussian_clip(bits), rel=1e-3)
    assert high.item() == pytest.approx(3 + 2 * gaussian_clip(bits), rel=1e-3)
    low, high = laplace([0.5 * DOUBLE_EXPONENTIAL - 1], bits)
    assert low.item() == pytest.approx(-1 - 0.5 * laplace_clip(bits), rel=1e-3)
    assert high.item() == pytest.approx(-1 + 0.5 * laplace_clip(bits), rel=1e-3)


@pytest.mark.parametrize("calibrate", [gaussian, laplace])
def test_after_a_relu_the_clip_is_that_of_one_bit_more(calibrate):
    values = NORMAL if calibrate is gaussian else DOUBLE_EXPONENTIAL
    low, high = calibrate([values.relu()], 4)
    assert low.item() == 0
    assert high.item() == pytest.approx(calibrate([values], 5).high.item(), rel=1e-3)


@given(st.integers(0, 10_000), st.sampled_from([0.5, 2.0, 1024.0]))
def test_scaling_the_values_scales_the_range(seed, factor):
    values = torch.randn(300, generator=torch.Generator().manual_seed(seed)).double()
    for calibrate in (gaussian, laplace):
        low, high = calibrate([values], 4)
        assert calibrate([values * factor], 4) == Range(low * factor, high * factor)


@pytest.mark.parametrize("calibrate", [gaussian, laplace])
def test_bits_that_no_grid_has_are_refused(calibrate):
    with pytest.raises(ValueError, match="got 9"):
        calibrate([torch.randn(4)], 9)
