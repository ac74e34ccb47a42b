import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from reference.quantization.affine import fake_quantize
from reference.quantization.lsq import (
    LsqQuantizer,
    gradient_gain,
    initial_step,
    lsq,
    lsq_activation,
    lsq_weight,
    signed_ends,
)

ENDS = (-4, 3)


def gradients(x, step, upstream, ends=ENDS, gain=1.0):
    x, step = x.clone().requires_grad_(), step.clone().requires_grad_()
    lsq(x, step, ends, gain).backward(upstream)
    return x.grad, step.grad


def sample(seed, count=200):
    draw = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, count, generator=draw, dtype=torch.float64)
    return 2 * pair[0], pair[1]


@pytest.mark.parametrize(
    ("value", "for_step", "for_x"),
    [
        (0.2, 0 - 0.2, 1),
        (-1.3, -1 + 1.3, 1),
        (2.75, 3 - 2.75, 1),  # rounds to the last code, and is not beyond it
        (0.5, 0 - 0.5, 1),  # the transition: ties go to the even code
        (1.5, 2 - 1.5, 1),
        (3.0, 3, 0),  # the end itself counts as beyond
        (-4.0, -4, 0),
        (3.2, 3, 0),
        (-9.0, -4, 0),
    ],
)
def test_gradient_of_each_kind_of_value_is_the_closed_form(value, for_step, for_x):
    x = torch.tensor([value], dtype=torch.float64)
    found = gradients(x, torch.tensor(1.0).double(), torch.tensor([1.0]).double())
    assert found[0].item() == for_x
    assert found[1].item() == pytest.approx(for_step, abs=1e-15)


@given(st.integers(0, 10_000), st.floats(0.05, 3))
def test_gradient_of_a_tensor_is_the_closed_form(seed, step):
    x, upstream = sample(seed)
    position = x / step
    slope = position.round() - position
    slope = torch.where(
        position <= ENDS[0], ENDS[0], torch.where(position >= ENDS[1], ENDS[1], slope)
    )
    for_x, for_step = gradients(x, torch.tensor(step, dtype=torch.float64), upstream)
    # float64: 200 terms below 10
    torch.testing.assert_close(for_step, (upstream * slope).sum(), rtol=0, atol=1e-11)
    assert torch.equal(for_x, upstream * ((position > ENDS[0]) & (position < ENDS[1])))


@given(st.integers(0, 10_000))
def test_gradient_of_the_step_differs_from_the_derivative_by_what_rounding_hides(seed):
    """Away from transitions q does not move, so d(q s)/ds = q; LSQ subtracts x / s inside."""
    x, upstream = sample(seed, 50)
    step, nudge = torch.tensor(0.7).double(), 1e-7
    codes = (x / step).round()
    assume(((x / step - codes).abs() < 0.499).all())
    up, down = (lsq(x, step + sign * nudge, ENDS, 1.0) for sign in (1, -1))
    derivative = ((up - down) / (2 * nudge) * upstream).sum()
    inside = (x / step > ENDS[0]) & (x / step < ENDS[1])
    hidden = (upstream * x / step)[inside].sum()
    # central difference of a linear function: rounding errors of 1e-16 / 1e-7 for each term
    found = gradients(x, step, upstream)[1]
    torch.testing.assert_close(found, derivative - hidden, rtol=0, atol=1e-6)


@given(st.integers(0, 10_000), st.floats(0.1, 2))
def test_gradient_under_squared_error_is_the_error_inside_and_the_end_beyond(seed, step):
    """L = sum (q s - x)^2 gives (2 / s) err^2 inside, never negative, and 2 (q s - x) q beyond."""
    x, _ = sample(seed)
    step = torch.tensor(step, dtype=torch.float64)
    error = lsq(x, step, ENDS, 1.0) - x
    position = x / step
    inside = (position > ENDS[0]) & (position < ENDS[1])
    expected = 2 / step * error[inside].square().sum()
    beyond = 2 * error[~inside] * position[~inside].clamp(*ENDS)
    found = gradients(x, step, 2 * error)[1]
    torch.testing.assert_close(found, expected + beyond.sum(), rtol=1e-12, atol=1e-11)


def test_values_that_are_all_clipped_pull_the_step_by_their_code():
    x, upstream = torch.full((5,), 100.0), torch.randn(5)
    assert gradients(x, torch.tensor(1.0), upstream)[1].item() == pytest.approx(
        3 * upstream.sum().item(), rel=1e-6
    )


def test_gradient_at_the_best_step_is_not_zero():
    """LSQ is not a search for the least rounding error; asserting zero here would be wrong."""
    x, _ = sample(0, 2000)
    steps = torch.linspace(0.2, 2, 1801, dtype=torch.float64)
    best = min(steps, key=lambda step: (lsq(x, step, ENDS, 1.0) - x).square().sum().item())
    error = lsq(x, best, ENDS, 1.0) - x
    codes = lsq(x, best, ENDS, 1.0) / best
    true_slope = (2 * error * codes).sum()
    assert gradients(x, best, 2 * error)[1].abs() > 10 * true_slope.abs()


def test_each_channel_has_the_gradient_of_its_own_values():
    x, upstream = torch.randn(3, 4, 5).double(), torch.randn(3, 4, 5).double()
    step = torch.tensor([0.3, 0.5, 2.0]).double().reshape(3, 1, 1)
    together = gradients(x, step, upstream)
    for channel in range(3):
        alone = gradients(x[channel], step[channel].reshape(()), upstream[channel])
        assert torch.equal(together[0][channel], alone[0])
        torch.testing.assert_close(together[1][channel].squeeze(), alone[1], rtol=1e-12, atol=1e-12)


def test_gain_multiplies_the_gradient_of_the_step_alone():
    x, upstream = sample(3)
    step = torch.tensor(0.5).double()
    plain, scaled = gradients(x, step, upstream), gradients(x, step, upstream, gain=0.125)
    assert torch.equal(scaled[0], plain[0])
    assert scaled[1] == 0.125 * plain[1]


def test_gain_and_start_are_those_of_the_paper():
    assert gradient_gain(100, 7) == 1 / math.sqrt(700)
    assert initial_step(torch.tensor(3.0), 4).item() == 2 * 3 / 2
    assert initial_step(torch.zeros(2), 7).tolist() == [1, 1]


def test_weight_has_a_step_and_a_gain_for_each_channel():
    weight = torch.randn(8, 3, 5, 5)
    quantizer = lsq_weight(weight, bits=3)
    assert quantizer.step.shape == (8, 1, 1, 1)
    assert quantizer.ends == (-4, 3)
    assert quantizer.gain == gradient_gain(75, 3)
    expected = 2 * weight.abs().mean((1, 2, 3)) / math.sqrt(3)
    torch.testing.assert_close(quantizer.step.detach().flatten(), expected)


def test_activation_is_unsigned_where_nothing_is_negative():
    batches = [torch.rand(4, 10), torch.rand(2, 10)]
    quantizer = lsq_activation(batches, bits=2)
    assert (quantizer.ends, quantizer.gain) == ((0, 3), gradient_gain(10, 3))
    assert lsq_activation([*batches, -batches[0]], bits=2).ends == (-2, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_output_is_on_the_grid_to_the_last_bit(dtype):
    x = torch.randn(16, 30, dtype=dtype)
    quantizer = lsq_weight(x, bits=4)
    assert torch.equal(quantizer(x), fake_quantize(x, quantizer.grid()))


def test_learning_the_step_lowers_a_loss():
    """From a step four times too wide, on values that no other parameter can change."""
    x = torch.randn(500)
    quantizer = LsqQuantizer(4 * initial_step(x.abs().mean(), 3), ENDS, 500)
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.05)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = (quantizer(x) - x).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2  # the rounding error goes with the square of the step


def test_frozen_step_does_not_move():
    quantizer = lsq_weight(torch.randn(4, 6), bits=3)
    weight = torch.randn(4, 6, requires_grad=True)
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.01)

    def moved():
        before = quantizer.step.detach().clone()
        quantizer(weight).square().sum().backward()
        optimizer.step()
        return not torch.equal(quantizer.step, before)

    assert moved()
    quantizer.freeze_(True)
    assert not moved()
    quantizer.freeze_(False)
    assert moved()


def test_step_that_is_not_above_zero_is_refused():
    with pytest.raises(ValueError, match="steps lie above zero"):
        lsq(torch.randn(3), torch.tensor(-0.1), ENDS, 1.0)
    with pytest.raises(ValueError, match="a step is nan"):
        lsq(torch.randn(3), torch.tensor(float("nan")), ENDS, 1.0)


@pytest.mark.parametrize("bits", [1, 9])
def test_bad_widths_are_refused(bits):
    with pytest.raises(ValueError, match="bits must be from 2 to 8"):
        signed_ends(bits)


def test_bad_values_and_no_batches_are_refused():
    with pytest.raises(ValueError, match="inf or nan"):
        lsq(torch.tensor([float("inf")]), torch.tensor(1.0), ENDS, 1.0)
    with pytest.raises(ValueError, match="at least one batch"):
        lsq_activation([], 4)
