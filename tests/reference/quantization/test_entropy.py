import pytest
import torch

from reference.quantization.affine import fake_quantize, symmetric_grid
from reference.quantization.calibration import min_max
from reference.quantization.entropy import entropy, entropy_curve


def gaussian_with_outliers():
    draw = torch.Generator().manual_seed(0)
    return torch.cat([torch.randn(100_000, generator=draw), torch.tensor([40.0, -40.0, 40.0])])


def gaussian_with_wide_tail():
    draw = torch.Generator().manual_seed(0)
    bulk, tail = torch.randn(100_000, generator=draw), 15 * torch.randn(100, generator=draw)
    return torch.cat([bulk, tail])


def share_kept(values):
    return (entropy([values]).high / values.abs().max()).item()


def test_kl_threshold_is_interior_on_gaussian_with_outliers():
    # 0.105 in research/techniques.md 3.1; one histogram bin of 80 / 4096 is 0.0005 of the range
    assert share_kept(gaussian_with_outliers()) == pytest.approx(0.105, abs=0.01)


def test_kl_threshold_is_interior_on_gaussian_with_a_wide_tail():
    assert 0.3 < share_kept(gaussian_with_wide_tail()) < 0.7  # 0.47 there; it moves with the sample


def test_kl_keeps_the_full_range_of_a_uniform():
    assert share_kept(torch.linspace(-1, 1, 100_000)) == pytest.approx(1.0, abs=1e-6)


def test_kl_tries_many_thresholds_from_levels_to_bins():
    """ONNX Runtime's defaults try one: the full range."""
    values = gaussian_with_outliers()
    curve = entropy_curve(values, levels=128, bins=2048)
    assert len(curve.thresholds) == 2048 - 128 + 1
    assert curve.thresholds[-1] == values.abs().max()
    assert (curve.divergences >= 0).all()
    assert curve.divergences.argmin() < len(curve.thresholds) - 1


def test_kl_of_a_histogram_with_one_bin_per_level_is_zero():
    curve = entropy_curve(torch.linspace(0, 1, 10_000), levels=128, bins=2048)
    # an even histogram loses nothing when its bins are merged; 5 values in a bin, one more or less
    assert curve.divergences[-1] < 0.02


@pytest.mark.parametrize("factor", [2.0**-10, 2.0, 2.0**20])
def test_kl_threshold_scales_with_the_values(factor):
    values = gaussian_with_outliers()
    assert entropy([values * factor]).high == entropy([values]).high * factor


def test_kl_does_not_depend_on_how_values_are_batched():
    values = gaussian_with_wide_tail()
    assert entropy([values]) == entropy(list(values.split(999))[::-1])


def test_kl_rounds_the_bulk_more_finely_than_min_max():
    values = gaussian_with_outliers()
    bulk = values[values.abs() < 3]
    errors = [
        (bulk - fake_quantize(bulk, symmetric_grid(calibrate([values])))).square().mean()
        for calibrate in (entropy, min_max)
    ]
    # both only round the bulk: the error goes as the square of the step, (1 / 0.105)**2 = 90
    assert errors[0] < errors[1] / 20


def test_zeros_that_a_relu_makes_do_not_move_the_threshold():
    values = gaussian_with_wide_tail().abs()
    assert entropy([values, torch.zeros(10 * len(values))]) == entropy([values])


def test_range_begins_at_zero_where_nothing_is_negative():
    values = gaussian_with_outliers()
    assert entropy([values.relu()]).low == 0
    assert entropy([values]).low == -entropy([values]).high


@pytest.mark.parametrize(("levels", "bins"), [(128, 128), (1, 2048), (256, 128)])
def test_search_without_candidates_is_refused(levels, bins):
    with pytest.raises(ValueError, match=f"levels={levels} and bins={bins}"):
        entropy([torch.randn(10)], levels, bins)


def test_kl_keeps_nearly_all_of_a_gaussian_and_cuts_the_tails_of_a_laplace():
    # 1.0 and 0.83 in research/techniques.md 3.1; it moves with the sample, here by a tenth
    draw = torch.Generator().manual_seed(0)
    assert share_kept(torch.randn(100_000, generator=draw)) > 0.85
    uniform = torch.rand(100_000, generator=draw) - 0.5
    assert 0.7 < share_kept(-torch.sign(uniform) * torch.log1p(-2 * uniform.abs())) < 0.95
