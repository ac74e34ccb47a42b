from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.quantization.adaround import (
    AdaRoundConfig,
    SoftRounding,
    adaround,
    beta_at,
    inverse_rectified_sigmoid,
    rectified_sigmoid,
)
from reference.quantization.affine import (
    asymmetric_grid,
    channel_range,
    dequantize,
    fake_quantize,
    quantize,
    symmetric_grid,
    tensor_range,
)

QUICK = AdaRoundConfig(steps=150)


def layer(seed=0, d_out=12, d_in=24, samples=128):
    """A weight, and inputs after a ReLU that are correlated: where nearest is a poor choice."""
    draw = torch.Generator().manual_seed(seed)
    causes = torch.randn(samples, 16, generator=draw).double()
    inputs = causes @ torch.randn(16, d_in, generator=draw).double()
    inputs += 0.3 * torch.randn(samples, d_in, generator=draw).double()
    return torch.randn(d_out, d_in, generator=draw).double(), inputs.relu()


def output_error(weight, rounded, inputs):
    return (inputs @ (weight - rounded).T).square().mean(0)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("make_grid", [symmetric_grid, asymmetric_grid])
def test_every_weight_is_one_of_its_two_neighbours_on_the_grid(make_grid, bits):
    weight, inputs = layer()
    grid = make_grid(channel_range(weight), bits)
    codes = adaround(weight, inputs, grid, QUICK).codes
    below = (weight / grid.scale).floor() + grid.zero_point
    ends = [(below + up).clamp(grid.qmin, grid.qmax) for up in (0, 1)]
    assert ((codes == ends[0]) | (codes == ends[1])).all()
    assert not torch.equal(codes, quantize(weight, grid))


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(1, 60))
def test_no_output_is_worse_than_nearest(seed, bits, steps):
    """However short the training: the better of the two is kept. The relaxation alone may be."""
    weight, inputs = layer(seed, samples=20)
    grid = symmetric_grid(channel_range(weight), bits)
    result = adaround(weight, inputs, grid, AdaRoundConfig(steps=steps))
    nearest = output_error(weight, fake_quantize(weight, grid), inputs)
    # float64: the same sums in another order
    assert (output_error(weight, result.weight, inputs) <= nearest * (1 + 1e-9)).all()


def test_reported_errors_are_the_output_errors():
    weight, inputs = layer()
    grid = symmetric_grid(channel_range(weight), 3)
    result = adaround(weight, inputs, grid, QUICK)
    for error, rounded in (
        (result.error, result.weight),
        (result.nearest_error, fake_quantize(weight, grid)),
    ):
        expected = output_error(weight, rounded, inputs)
        torch.testing.assert_close(error, expected, rtol=1e-9, atol=0)  # float64, another order


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([3, 4]))
def test_nearest_is_the_optimum_where_inputs_are_uncorrelated_and_nothing_clips(seed, bits):
    """With a diagonal X'X the loss is a sum over weights, and nearest minimises each term."""
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(6, 10, generator=draw).double()
    inputs = torch.diag(torch.rand(10, generator=draw).double() + 0.1)
    grid = symmetric_grid(channel_range(weight), bits)
    result = adaround(weight, inputs, grid, AdaRoundConfig(steps=20))
    assert torch.equal(result.codes, quantize(weight, grid))


def test_result_is_near_the_best_of_all_roundings():
    """Of 2**8 for each output. Measured over three seeds: 1.01 to 1.08 of it, nearest 1.47."""
    weight, inputs = layer(d_out=20, d_in=8, samples=64)
    grid = symmetric_grid(channel_range(weight), 3)
    result = adaround(weight, inputs, grid, AdaRoundConfig(steps=300))
    best = torch.full((20,), float("inf")).double()
    below = (weight / grid.scale).floor()
    for choice in product((0, 1), repeat=8):
        codes = (below + torch.tensor(choice)).clamp(grid.qmin, grid.qmax).int()
        best = torch.minimum(best, output_error(weight, dequantize(codes, grid), inputs))
    assert (result.error >= best * (1 - 1e-9)).all()
    assert result.error.sum() < 1.2 * best.sum() < result.nearest_error.sum()


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_error_of_a_layer_is_less_than_half_of_nearests(bits):
    """Measured on six such layers of 64 inputs: 0.25 to 0.46 of nearest's after 300 steps."""
    weight, inputs = layer(d_in=64, d_out=8, samples=256)
    grid = symmetric_grid(channel_range(weight), bits)
    result = adaround(weight, inputs, grid, AdaRoundConfig(steps=300))
    assert result.error.sum() < 0.5 * result.nearest_error.sum()


def test_outputs_do_not_see_each_other():
    weight, inputs = layer()
    changed = weight.clone()
    changed[6:] *= 100
    results = [
        adaround(each, inputs, symmetric_grid(channel_range(each), 3), QUICK)
        for each in (weight, changed)
    ]
    assert torch.equal(results[0].codes[:6], results[1].codes[:6])


def test_rounded_inputs_of_the_layer_before_are_made_up_for():
    """Its loss counts the difference of the inputs too; ignoring it leaves more."""
    weight, inputs = layer()
    noisy = fake_quantize(inputs, asymmetric_grid(tensor_range(inputs), 3))
    grid = symmetric_grid(channel_range(weight), 3)
    target = inputs @ weight.T

    def error(rounded):
        return (target - noisy @ rounded.T).square().mean(0)

    aware = adaround(weight, inputs, grid, QUICK, noisy)
    torch.testing.assert_close(aware.error, error(aware.weight), rtol=1e-9, atol=0)
    unaware = adaround(weight, inputs, grid, QUICK)
    assert error(aware.weight).sum() < error(unaware.weight).sum()


def test_weight_on_its_grid_stays_there():
    weight, inputs = layer()
    grid = symmetric_grid(channel_range(weight), 4)
    weight = fake_quantize(weight, grid)
    result = adaround(weight, inputs, grid, QUICK)
    assert torch.equal(result.weight, weight)
    assert result.error.max() == 0


def test_rectified_sigmoid_reaches_both_ends_and_is_inverted():
    share = torch.linspace(0, 1, 101).double()
    back = rectified_sigmoid(inverse_rectified_sigmoid(share))
    torch.testing.assert_close(back, share, rtol=0, atol=1e-14)  # float64
    ends = rectified_sigmoid(torch.tensor([-2.4, 0.0, 2.4]))
    assert ends.tolist() == [0.0, 0.5, 1.0]


def test_soft_weight_begins_at_the_weight_itself():
    weight, _ = layer()
    grid = asymmetric_grid(channel_range(weight), 4)
    inside = (weight > grid.scale * -grid.zero_point) & (
        weight < grid.scale * (15 - grid.zero_point)
    )
    soft = SoftRounding(weight, grid).soft()
    torch.testing.assert_close(soft[inside], weight[inside], rtol=0, atol=1e-14)  # float64


def test_undecided_weights_cost_one_and_decided_ones_nothing():
    grid = symmetric_grid(tensor_range(torch.tensor([7.0])), 4)
    halves, whole = (SoftRounding(torch.full((5,), x), grid) for x in (2.5, 3.0))
    for beta in (2.0, 20.0):
        assert halves.indecision(beta).item() == pytest.approx(5, abs=1e-5)
        assert whole.indecision(beta).item() == pytest.approx(0, abs=1e-5)


def test_beta_falls_from_start_to_end_after_the_warm_up():
    config = AdaRoundConfig(steps=100)
    assert [beta_at(step, config) for step in range(20)] == [None] * 20
    betas = [beta_at(step, config) for step in range(20, 100)]
    assert betas[0] == 20
    assert betas == sorted(betas, reverse=True)
    assert 2 < betas[-1] < 2.02


def test_bad_input_is_refused():
    weight, inputs = layer()
    grid = symmetric_grid(channel_range(weight), 3)
    for bad in (inputs * float("nan"), inputs * float("inf")):
        with pytest.raises(ValueError, match="inf or nan"):
            adaround(weight, bad, grid, QUICK)
    with pytest.raises(ValueError, match="no values"):
        adaround(weight, inputs[:0], grid, QUICK)
    with pytest.raises(ValueError, match="must be the same samples"):
        adaround(weight, inputs, grid, QUICK, inputs[:5])
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        AdaRoundConfig(steps=0)
    with pytest.raises(ValueError, match=r"warm_up must be in \[0, 1\), got 1.0"):
        AdaRoundConfig(warm_up=1.0)


def test_outermost_weight_that_leans_outward_stays_on_the_grid():
    weight, _ = layer()
    soft = SoftRounding(weight, grid := symmetric_grid(channel_range(weight), 3))
    for lean, outermost in ((9.0, grid.qmax), (-9.0, grid.qmin)):
        soft.variable.data.fill_(lean)
        codes = soft.hard()
        assert grid.qmin <= codes.min() <= codes.max() <= grid.qmax
        assert outermost in codes
