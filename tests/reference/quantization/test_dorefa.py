import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.quantization.dorefa import (
    dorefa_activation,
    dorefa_gradient,
    dorefa_weight,
    quantize_gradient,
    unit_grid,
)


def gradient_of(function, x, upstream):
    x = x.clone().requires_grad_()
    function(x).backward(upstream)
    return x.grad


@given(st.integers(0, 10_000), st.integers(2, 8))
def test_weights_are_the_equation_of_the_paper(seed, bits):
    weight = torch.randn(8, 5, generator=torch.Generator().manual_seed(seed)).double()
    top = 2**bits - 1
    unit = weight.tanh() / (2 * weight.tanh().abs().max()) + 0.5
    expected = 2 * (unit * top).round() / top - 1
    # float64, but for values a rounding error from a tie, of which 40 random ones have none
    torch.testing.assert_close(dorefa_weight(weight, bits), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bits", range(1, 9))
def test_weights_use_at_most_their_values_and_both_ends_fit(bits):
    weight = torch.randn(2000)
    values = dorefa_weight(weight, bits)
    assert len(values.unique()) <= 2**bits
    if bits > 1:
        assert values.abs().max() == 1
        assert values.abs().min() >= 1 / (2**bits - 1) - 1e-6  # no zero among an even number


@given(st.integers(0, 10_000), st.integers(2, 8))
def test_gradient_of_weights_is_that_of_the_squeezed_ones(seed, bits):
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(30, generator=draw, dtype=torch.float64)
    upstream = torch.randn(30, generator=draw, dtype=torch.float64)
    found = gradient_of(lambda w: dorefa_weight(w, bits), weight, upstream)
    surrogate = gradient_of(lambda w: w.tanh() / w.tanh().abs().max(), weight, upstream)
    torch.testing.assert_close(found, surrogate, rtol=0, atol=1e-12)  # float64, 30 terms


def test_one_bit_is_the_mean_magnitude_and_passes_the_gradient_on():
    weight = torch.tensor([0.5, -1.0, 0.0, 2.5])
    assert dorefa_weight(weight, 1).tolist() == [1, -1, 1, 1]
    upstream = torch.randn(4)
    assert torch.equal(gradient_of(lambda w: dorefa_weight(w, 1), weight, upstream), upstream)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_activations_are_clipped_to_one_and_clipped_ones_get_no_gradient(bits):
    x = torch.tensor([-0.5, 0.25, 0.75, 1.5])
    top = 2**bits - 1
    expected = (x.clamp(0, 1) * top).round() / top
    torch.testing.assert_close(dorefa_activation(x, bits), expected, rtol=0, atol=1e-7)  # float32
    gradient = gradient_of(lambda x: dorefa_activation(x, bits), x, torch.full((4,), 2.0))
    assert gradient.tolist() == [0, 2, 2, 0]


def test_gradient_is_quantized_on_the_way_back_alone():
    x = torch.randn(3, 10)
    upstream = torch.randn(3, 10)
    assert torch.equal(dorefa_gradient(x, 2), x)
    draws = (torch.Generator().manual_seed(1) for _ in range(2))
    found = gradient_of(lambda x: dorefa_gradient(x, 2, next(draws)), x, upstream)
    assert torch.equal(found, quantize_gradient(upstream, 2, next(draws)))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_quantized_gradient_is_right_on_average(bits):
    """Uniform noise of one step makes rounding unbiased, except where it is clipped at +-m."""
    gradient = torch.tensor([[-1.0, -0.6, -0.1, 0.0, 0.02, 0.3, 0.61]])
    draw = torch.Generator().manual_seed(0)
    count = 20_000
    drawn = quantize_gradient(gradient.expand(count, -1), bits, draw)
    deviation = (1 / (2**bits - 1)) / count**0.5  # half a step of 2 / (2**bits - 1), at most
    inside = slice(1, None)
    assert (drawn.mean(0) - gradient[0])[inside].abs().max() < 5 * deviation
    step = 2 / (2**bits - 1)
    assert ((drawn - gradient).abs() <= step + 1e-6).all()


def test_each_sample_has_its_own_grid_of_gradients():
    gradient = torch.tensor([[1.0, 0.5], [1e-6, 5e-7], [0.0, 0.0]])
    found = quantize_gradient(gradient, 8, torch.Generator().manual_seed(0))
    assert found[2].tolist() == [0, 0]  # a sample without a gradient gets no noise either
    # one step of 2 m / 255 from noise and rounding
    assert ((found - gradient).abs() <= gradient.amax(1, keepdim=True) * 2 / 255 * 1.01).all()


@pytest.mark.parametrize("bits", [0, 9])
def test_bad_widths_are_refused(bits):
    with pytest.raises(ValueError, match="bits must be from 1 to 8"):
        unit_grid(bits)


@pytest.mark.parametrize("bits", [1, 4])
def test_bad_weights_are_refused(bits):
    with pytest.raises(ValueError, match="inf or nan"):
        dorefa_weight(torch.tensor([1.0, float("nan")]), bits)


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(ValueError, match="all of 6 weights are zero"):
        dorefa_weight(torch.zeros(2, 3), 4)
