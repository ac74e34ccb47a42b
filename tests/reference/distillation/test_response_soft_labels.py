"""Claims about soft labels. 1e-9 and 1e-12 are float64's over a dozen terms of size 1e2 and 1."""

import math

import pytest
import torch
import torch.nn.functional as F
from answers import batch, gradient, labels, logits, padded_labels
from hypothesis import given
from hypothesis import strategies as st

from reference.distillation.outputs import IGNORED, Batch, Outputs
from reference.distillation.response.soft_labels import (
    hard_loss,
    jensen_shannon,
    learnt,
    logit_mse,
    soft_cross_entropy,
    soft_divergence,
    total_variation,
)

SEED = st.integers(0, 999)
TEMPERATURE = st.floats(0.5, 30)
BOUNDED = [soft_divergence, jensen_shannon, total_variation, logit_mse]
ALL = [*BOUNDED, soft_cross_entropy]


@given(SEED, TEMPERATURE, st.integers(1, 5), st.integers(2, 12))
def test_the_gradient_is_t_times_the_difference_of_probabilities(seed, temperature, rows, classes):
    z, v = logits(seed, rows, classes), logits(seed + 1, rows, classes)
    expected = temperature * ((z / temperature).softmax(-1) - (v / temperature).softmax(-1)) / rows
    found = gradient(lambda x: soft_divergence(x, v, temperature), z)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_the_divergence_is_the_teachers_from_the_student():
    p, q = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]], dtype=torch.float64)
    forward = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    reverse = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert soft_divergence(q.log(), p.log()).item() == pytest.approx(forward, rel=1e-12)
    assert abs(forward - reverse) > 0.1  # so the other direction would be seen


@given(SEED, TEMPERATURE)
def test_it_is_pytorchs_batchmean(seed, temperature):
    z, v = logits(seed, 4, 7), logits(seed + 1, 4, 7)
    expected = F.kl_div(
        (z / temperature).log_softmax(-1), (v / temperature).softmax(-1), reduction="batchmean"
    )
    found = soft_divergence(z, v, temperature)
    torch.testing.assert_close(found, temperature**2 * expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("loss", BOUNDED)
def test_equal_answers_have_neither_loss_nor_gradient(loss):
    v = logits(0, 4, 6)
    assert abs(loss(v, v, 3.0).item()) < 1e-12
    assert gradient(lambda x: loss(x, v, 3.0), v).abs().max() < 1e-12


@pytest.mark.parametrize("loss", [each for each in ALL if each is not logit_mse])
def test_a_constant_added_to_all_logits_changes_nothing(loss):
    z, v = logits(0, 4, 6), logits(1, 4, 6)
    torch.testing.assert_close(loss(z + 5, v - 3, 2.0), loss(z, v, 2.0), rtol=1e-12, atol=1e-12)


def test_logits_are_matched_in_the_limit_of_high_temperatures():
    z, v = logits(0, 8, 10), logits(1, 8, 10)
    z, v = z - z.mean(-1, keepdim=True), v - v.mean(-1, keepdim=True)
    limit = gradient(lambda x: logit_mse(x, v) / 2, z)
    apart = {
        t: ((gradient(lambda x, t=t: soft_divergence(x, v, t), z) - limit).norm() / limit.norm())
        for t in (20.0, 100.0, 500.0)
    }
    # What is left is of the order of 1 / T: a fifth each time, up to the next order.
    assert apart[100.0] / apart[20.0] == pytest.approx(1 / 5, rel=0.2)
    assert apart[500.0] / apart[100.0] == pytest.approx(1 / 5, rel=0.2)
    assert apart[500.0] < 0.02
    value = soft_divergence(z, v, 5000.0).item()
    assert value == pytest.approx(logit_mse(z, v).item() / 2, rel=0.005)


@pytest.mark.parametrize("loss", [soft_divergence, soft_cross_entropy, jensen_shannon])
def test_gradients_stay_as_large_at_any_temperature_within_the_limit(loss):
    z, v = logits(0, 8, 10, spread=1.0), logits(1, 8, 10, spread=1.0)
    norms = [gradient(lambda x, t=t: loss(x, v, t), z).norm().item() for t in (50.0, 500.0)]
    assert norms[1] / norms[0] == pytest.approx(1, rel=0.05)


def test_total_variation_falls_as_the_temperature_itself():
    z, v = logits(0, 8, 10, spread=1.0), logits(1, 8, 10, spread=1.0)
    norms = [
        gradient(lambda x, t=t: total_variation(x, v, t), z).norm().item() for t in (50.0, 500.0)
    ]
    assert norms[1] / norms[0] == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("loss", [each for each in ALL if each is not logit_mse])
@pytest.mark.parametrize("more", [1, 50])
def test_classes_that_both_exclude_change_neither_loss_nor_gradient(loss, more):
    z, v = logits(0, 4, 6), logits(1, 4, 6)
    never = torch.full((4, more), -math.inf, dtype=torch.float64)
    wide_z, wide_v = torch.cat([z, never], -1), torch.cat([v, never], -1)
    torch.testing.assert_close(loss(wide_z, wide_v, 2.0), loss(z, v, 2.0), rtol=1e-12, atol=1e-12)
    found = gradient(lambda x: loss(x, wide_v, 2.0), wide_z)
    expected = gradient(lambda x: loss(x, v, 2.0), z)
    torch.testing.assert_close(found[:, :6], expected, rtol=1e-12, atol=1e-12)
    assert not found[:, 6:].any()


@pytest.mark.parametrize("loss", ALL)
def test_a_batch_twice_is_the_loss_of_the_batch(loss):
    z, v = logits(0, 4, 6), logits(1, 4, 6)
    twice = loss(z.repeat(2, 1), v.repeat(2, 1), 2.0)
    torch.testing.assert_close(twice, loss(z, v, 2.0), rtol=1e-12, atol=0)


@pytest.mark.parametrize("loss", ALL)
def test_each_position_may_have_its_own_temperature(loss):
    z, v, t = logits(0, 2, 3, 6), logits(1, 2, 3, 6), logits(2, 2, 3).abs() + 0.5
    alone = [loss(z[i, j], v[i, j], t[i, j].item()) for i in range(2) for j in range(3)]
    torch.testing.assert_close(loss(z, v, t), torch.stack(alone).mean(), rtol=1e-12, atol=1e-12)


@given(SEED, TEMPERATURE)
def test_cross_entropy_has_the_gradient_of_the_divergence_and_the_teachers_entropy(seed, t):
    z, v = logits(seed, 4, 6), logits(seed + 1, 4, 6)
    torch.testing.assert_close(
        gradient(lambda x: soft_cross_entropy(x, v, t), z),
        gradient(lambda x: soft_divergence(x, v, t), z),
        rtol=0,
        atol=1e-9,
    )
    p = (v / t).softmax(-1)
    entropy = -(p * p.log()).sum(-1).mean()
    found = soft_cross_entropy(z, v, t) - soft_divergence(z, v, t)
    torch.testing.assert_close(found, t**2 * entropy, rtol=1e-9, atol=1e-9)


@given(SEED)
def test_a_teacher_that_is_sure_is_a_label(seed):
    z, wanted = logits(seed, 5, 6), labels(seed, 6, 5)
    sure = torch.full((5, 6), -math.inf, dtype=torch.float64)
    sure[torch.arange(5), wanted] = 0
    expected = F.cross_entropy(z, wanted)
    for loss in (soft_divergence, soft_cross_entropy):
        torch.testing.assert_close(loss(z, sure), expected, rtol=1e-12, atol=0)
        found = gradient(lambda x, loss=loss: loss(x, sure), z)
        expected_gradient = gradient(lambda x: F.cross_entropy(x, wanted), z)
        torch.testing.assert_close(found, expected_gradient, rtol=1e-12, atol=1e-15)


@given(SEED, TEMPERATURE)
def test_bounds_and_symmetry(seed, t):
    z, v = logits(seed, 3, 5, spread=20.0), logits(seed + 1, 3, 5, spread=20.0)
    for loss, most in ((jensen_shannon, t**2 * math.log(2)), (total_variation, t)):
        assert -1e-12 <= loss(z, v, t).item() <= most * (1 + 1e-12)
        torch.testing.assert_close(loss(z, v, t), loss(v, z, t), rtol=1e-9, atol=1e-12)
    one, other = z[:1], v[:1]
    pinsker = (soft_divergence(one, other).clamp(min=0) / 2).sqrt()
    assert total_variation(one, other) <= pinsker + 1e-9


def test_total_variation_and_jensen_shannon_of_two_that_never_agree():
    z = torch.tensor([[0.0, -math.inf]]).double()
    v = torch.tensor([[-math.inf, 0.0]]).double()
    assert total_variation(z, v).item() == 1
    assert jensen_shannon(z, v).item() == pytest.approx(math.log(2), rel=1e-12)


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_have_finite_losses_and_gradients(loss, dtype):
    z = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype)
    v = torch.tensor([[-1e4, 1e4, 0.0], [1e4, 0.0, -1e4]], dtype=dtype)
    assert torch.isfinite(loss(z, v, 1.0))
    assert torch.isfinite(gradient(lambda x: loss(x, v, 1.0), z)).all()


@pytest.mark.parametrize("loss", [each for each in ALL if each is not logit_mse])
def test_a_class_that_the_teacher_excludes_is_unlearnt(loss):
    z, v = logits(0, 2, 3), torch.tensor([[0.0, 1.0, -math.inf]] * 2).double()
    found = gradient(lambda x: loss(x, v, 1.0), z)
    assert torch.isfinite(loss(z, v, 1.0))
    assert (found[:, 2] > 0).all()  # downwards


def test_excluding_what_the_teacher_says_costs_infinitely_much():
    z, v = torch.tensor([[0.0, -math.inf]]).double(), torch.zeros(1, 2).double()
    assert soft_divergence(z, v) == math.inf
    assert soft_cross_entropy(z, v) == math.inf


@pytest.mark.parametrize("loss", ALL)
def test_gradients_are_those_of_finite_differences(loss):
    z, v = logits(0, 3, 4).requires_grad_(), logits(1, 3, 4)
    t = torch.tensor([1.0, 2.0, 3.0]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: loss(x, v, y), (z, t))


@given(SEED)
def test_padding_contributes_nothing(seed):
    wanted = padded_labels(seed, 5)
    z, v = logits(seed, 3, 6, 5), logits(seed + 1, 3, 6, 5)
    padding = wanted == IGNORED

    def loss(x, teacher=v, wanted=wanted):
        soft = soft_divergence(*learnt(Outputs(x), Outputs(teacher), batch(wanted))[:2], 2.0)
        return soft + hard_loss(x, wanted)

    noisy_z, noisy_v = z.clone(), v.clone()
    noisy_z[padding], noisy_v[padding] = math.nan, 1e9
    assert torch.equal(loss(noisy_z, noisy_v), loss(z))
    assert not gradient(loss, z)[padding].any()
    assert gradient(loss, z)[~padding].any(-1).all()
    longer = F.pad(wanted, (0, 4), value=IGNORED)
    wide_z, wide_v = F.pad(z, (0, 0, 0, 4)), F.pad(v, (0, 0, 0, 4))
    torch.testing.assert_close(loss(wide_z, wide_v, longer), loss(z), rtol=1e-12, atol=0)


def test_a_mean_is_over_labels_and_not_over_places():
    wanted = padded_labels(0, 5)
    z, v = logits(0, 3, 6, 5), logits(1, 3, 6, 5)
    each = [
        soft_divergence(z[i, j], v[i, j]) for i in range(3) for j in range(6) if wanted[i, j] >= 0
    ]
    assert len(each) == 12
    found = soft_divergence(*learnt(Outputs(z), Outputs(v), batch(wanted))[:2])
    torch.testing.assert_close(found, torch.stack(each).mean(), rtol=1e-12, atol=0)


def test_the_hard_loss_is_pytorchs():
    z, wanted = logits(0, 3, 6, 5), padded_labels(0, 5)
    assert torch.equal(hard_loss(z, wanted), F.cross_entropy(z.transpose(1, 2), wanted))


Z, V, Y = logits(0, 3, 4), logits(1, 3, 4), labels(0, 4, 3)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: soft_divergence(Z, V[:, :3]), r"same classes, got logits \(3, 4\) and \(3, 3\)"),
        (lambda: soft_divergence(Z, V, 0.0), "must be positive and finite, got 0"),
        (lambda: soft_divergence(Z, V, math.nan), "positive and finite, got nan"),
        (lambda: jensen_shannon(Z, V, torch.tensor([1.0, -2.0, 1.0])), "got -2.0"),
        (lambda: total_variation(Z[:0], V[:0]), r"nothing to learn from in logits of \(0, 4\)"),
        (lambda: hard_loss(Z, Y[:2]), r"of the student need one label, .* \(3, 4\) and \(2,\)"),
        (lambda: hard_loss(Z, torch.full((3,), IGNORED)), "label other than -100"),
        (lambda: learnt(Outputs(Z), None, batch(Y)), "need a teacher, got none"),
        (lambda: learnt(Outputs(Z), Outputs(V[:2]), batch(Y)), "of the teacher need one label"),
        (
            lambda: learnt(Outputs(Z), Outputs(V), Batch(Z, torch.full((3,), IGNORED))),
            "label other than -100",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
