import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.quantization.affine import fake_quantize
from reference.quantization.pact import PactQuantizer, pact, pact_activation, pact_grid


def gradients(x, alpha, bits, upstream):
    x = x.clone().requires_grad_()
    alpha = torch.tensor(alpha, dtype=x.dtype, requires_grad=True)
    pact(x, alpha, bits).backward(upstream)
    return x.grad, alpha.grad


@given(st.integers(0, 10_000), st.floats(0.1, 4), st.integers(2, 8))
def test_gradients_are_those_of_the_paper(seed, alpha, bits):
    draw = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(300, generator=draw, dtype=torch.float64)
    upstream = torch.randn(300, generator=draw, dtype=torch.float64)
    for_x, for_alpha = gradients(x, alpha, bits, upstream)
    assert torch.equal(for_x, upstream * ((x > 0) & (x < alpha)))
    # float64: the same 300 terms in another order
    torch.testing.assert_close(for_alpha, upstream[x >= alpha].sum(), rtol=0, atol=1e-12)


@given(st.integers(0, 10_000), st.floats(0.1, 4), st.integers(2, 8))
def test_output_is_the_equation_of_the_paper(seed, alpha, bits):
    x = torch.randn(100, generator=torch.Generator().manual_seed(seed)).double()
    step = alpha / (2**bits - 1)
    expected = (x.clamp(0, alpha) / step).round() * step
    found = pact(x, torch.tensor(alpha, dtype=torch.float64), bits)
    # float64, but for values a rounding error from a tie, of which 100 random ones have none
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_alpha_at_a_value_counts_as_clipped():
    x = torch.tensor([1.0, 2.0, 3.0])
    for_x, for_alpha = gradients(x, 2.0, 4, torch.ones(3))
    assert for_x.tolist() == [1, 0, 0]
    assert for_alpha == 2


def test_alpha_that_clips_nothing_shrinks_by_decay_alone():
    quantizer = PactQuantizer(5.0, 4)
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.1, weight_decay=0.5)
    quantizer(torch.rand(20)).sum().backward()
    optimizer.step()
    assert quantizer.alpha.item() == pytest.approx(5 - 0.1 * 0.5 * 5)


def test_calibrated_quantizer_clips_nothing_it_saw_and_rounds_to_its_grid():
    batches = [torch.rand(10), 3 * torch.rand(10)]
    quantizer = pact_activation(batches, bits=3)
    x = torch.cat(batches)
    assert quantizer.alpha == x.max()
    assert torch.equal(quantizer(x), fake_quantize(x, quantizer.grid()))


def test_frozen_alpha_does_not_move():
    quantizer = PactQuantizer(1.0, 4)
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.1)

    def step():
        optimizer.zero_grad()
        (quantizer(torch.full((3,), 2.0)) * torch.ones(3, requires_grad=True)).sum().backward()
        optimizer.step()

    step()
    moved = quantizer.alpha.item()
    assert moved != 1
    quantizer.freeze_(True)
    step()
    assert quantizer.alpha.item() == moved
    quantizer.freeze_(False)
    step()
    assert quantizer.alpha.item() != moved


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
def test_clip_that_is_not_above_zero_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha is"):
        pact_grid(torch.tensor(alpha), 4)
    with pytest.raises(ValueError, match="alpha is"):
        PactQuantizer(alpha, 4)


def test_negative_activations_bad_widths_and_bad_values_are_refused():
    with pytest.raises(ValueError, match="PACT keeps only those above 0"):
        pact_activation([torch.tensor([-0.5, 1.0])], 4)
    with pytest.raises(ValueError, match="bits"):
        PactQuantizer(1.0, 1)
    with pytest.raises(ValueError, match="inf or nan"):
        pact(torch.tensor([float("nan")]), torch.tensor(1.0), 4)
    with pytest.raises(ValueError, match="at least one batch"):
        pact_activation([], 4)
