"""Claims about standardised logits and DIST. 1e-9 is float64's, relative to shifts of 1e2."""

import math

import pytest
import torch
import torch.nn.functional as F
from answers import batch, gradient, labels, logits
from hypothesis import given
from hypothesis import strategies as st

from reference.distillation.outputs import Outputs
from reference.distillation.response.dist import DIST, pearson_distance
from reference.distillation.response.soft_labels import soft_divergence
from reference.distillation.response.standardise import (
    directions,
    standardised,
    standardised_divergence,
)

SEED = st.integers(0, 999)
SCALE = st.floats(0.01, 100)
SHIFT = st.floats(-100, 100)


def positive(seed: int, rows: int) -> torch.Tensor:
    return logits(seed, rows, 1).exp()


@given(SEED)
def test_standardised_rows_have_a_mean_of_0_and_a_deviation_of_1(seed):
    found = standardised(logits(seed, 2, 3, 7) + 5)
    assert found.mean(-1).abs().max() < 1e-12
    torch.testing.assert_close(found.std(-1, correction=0), torch.ones(2, 3).double())


@given(SEED, SHIFT)
def test_standardised_logits_do_not_change_with_shift_or_scale_of_either_side(seed, shift):
    z, v = logits(seed, 4, 6), logits(seed + 1, 4, 6)
    a, b = positive(seed + 2, 4), positive(seed + 3, 4)
    expected = standardised_divergence(z, v, 2.0)
    for pair in ((a * z + shift, v), (z, b * v + shift), (a * z, b * v - shift)):
        torch.testing.assert_close(
            standardised_divergence(*pair, 2.0), expected, rtol=1e-9, atol=1e-9
        )


def test_plain_soft_labels_do_change_with_the_scale():
    z, v = logits(0, 4, 6), logits(1, 4, 6)
    assert abs(soft_divergence(2 * z, v, 2.0) - soft_divergence(z, v, 2.0)) > 0.1


@given(SEED, st.floats(0.5, 10))
def test_it_is_soft_labels_at_temperatures_of_each_network_and_position(seed, temperature):
    z, v = logits(seed, 4, 6), logits(seed + 1, 4, 6)
    q, p = (
        (each / (temperature * each.std(-1, correction=0, keepdim=True))).softmax(-1)
        for each in (z, v)
    )
    expected = temperature**2 * (p * (p / q).log()).sum(-1).mean()
    found = standardised_divergence(z, v, temperature)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_the_size_of_the_logits_is_left_to_the_labels():
    z, v = logits(0, 4, 6), logits(1, 4, 6)
    found = gradient(lambda x: standardised_divergence(x, v, 2.0), z)
    assert found.norm() > 0.01
    assert (found * (z - z.mean(-1, keepdim=True))).sum(-1).abs().max() < 1e-12  # along the size
    assert found.sum(-1).abs().max() < 1e-12  # along the shift


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_constant_rows_have_no_direction_and_no_nan(dtype, value):
    z = torch.full((2, 7), value, dtype=dtype)
    assert not directions(z).any()
    v = logits(0, 2, 7).to(dtype)
    for loss in (lambda x: standardised_divergence(x, v, 2.0), lambda x: pearson_distance(x, v)):
        assert torch.isfinite(loss(z))
        assert not gradient(loss, z).any()


def test_small_differences_are_a_direction_all_the_same():
    v = logits(0, 3, 6)
    torch.testing.assert_close(directions(1e-30 * v), directions(v), rtol=1e-9, atol=1e-12)


@given(SEED, SHIFT)
def test_dist_does_not_change_with_an_affine_map_of_each_row(seed, shift):
    q, p = logits(seed, 4, 6), logits(seed + 1, 4, 6)
    a, b = positive(seed + 2, 4), positive(seed + 3, 4)
    expected = pearson_distance(q, p)
    for pair in ((a * q + shift, p), (q, b * p + shift)):
        torch.testing.assert_close(pearson_distance(*pair), expected, rtol=1e-9, atol=1e-9)


@given(SEED)
def test_the_distance_is_one_less_the_mean_correlation(seed):
    q, p = logits(seed, 4, 6), logits(seed + 1, 4, 6)
    r = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(q, p, strict=True)]
    torch.testing.assert_close(pearson_distance(q, p), 1 - torch.stack(r).mean())
    assert pearson_distance(p, p).item() == pytest.approx(0, abs=1e-12)
    assert pearson_distance(-p, p).item() == pytest.approx(2, abs=1e-12)


@given(SEED, st.floats(0.5, 5))
def test_dist_relates_classes_and_examples(seed, temperature):
    z, v, wanted = logits(seed, 5, 4), logits(seed + 1, 5, 4), labels(seed, 4, 5)
    q, p = (z / temperature).softmax(-1), (v / temperature).softmax(-1)

    def loss(**weights):
        objective = DIST(temperature=temperature, **weights)
        return objective(Outputs(z), Outputs(v), batch(wanted), 0.0)

    hard = F.cross_entropy(z, wanted)
    torch.testing.assert_close(loss(inter=0.0, intra=0.0), hard)
    torch.testing.assert_close(loss(hard=0.0, intra=0.0), pearson_distance(q, p))
    torch.testing.assert_close(loss(hard=0.0, inter=0.0), pearson_distance(q.T, p.T))
    whole = 2 * hard + 3 * pearson_distance(q, p) + 4 * pearson_distance(q.T, p.T)
    torch.testing.assert_close(loss(hard=2.0, inter=3.0, intra=4.0), whole)


def test_gradients_of_dist_do_not_fade_at_high_temperatures():
    z, v, wanted = logits(0, 5, 4), logits(1, 5, 4), labels(0, 4, 5)

    def norm(temperature):
        objective = DIST(temperature=temperature, hard=0.0)
        return gradient(lambda x: objective(Outputs(x), Outputs(v), batch(wanted), 0.0), z).norm()

    assert norm(1000.0) / norm(100.0) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sure_answers_have_finite_losses_and_gradients(dtype):
    z = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 0.0, 0.0]], dtype=dtype)
    v = torch.tensor([[-1e4, 1e4, 0.0], [1e4, -math.inf, 0.0], [1.0, 2.0, 3.0]], dtype=dtype)
    objective, wanted = DIST(), torch.tensor([0, 1, 2])

    def loss(x):
        return objective(Outputs(x), Outputs(v), batch(wanted), 0.0)

    assert torch.isfinite(loss(z))
    assert torch.isfinite(gradient(loss, z)).all()


def test_gradients_are_those_of_finite_differences():
    z, v, wanted = logits(0, 4, 3).requires_grad_(), logits(1, 4, 3), labels(0, 3, 4)
    assert torch.autograd.gradcheck(lambda x: standardised_divergence(x, v, 2.0), (z,))
    assert torch.autograd.gradcheck(
        lambda x: DIST()(Outputs(x), Outputs(v), batch(wanted), 0.0), (z,)
    )


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: standardised(torch.tensor([[0.0, -math.inf]])), "inf or nan, and have no dev"),
        (
            lambda: DIST()(
                Outputs(logits(0, 1, 3)), Outputs(logits(1, 1, 3)), batch(labels(0, 3, 1)), 0.0
            ),
            "at least two examples, got 1",
        ),
        (
            lambda: DIST()(
                Outputs(logits(0, 2, 3)), Outputs(logits(1, 2, 4)), batch(labels(0, 3, 2)), 0.0
            ),
            "classes must be the same, got 3 and 4",
        ),
    ],
)
def test_what_has_no_correlation_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
