"""Claims about DKD. 1e-9 is float64's over a dozen logarithms of size 1e2."""

import math

import pytest
import torch
import torch.nn.functional as F
from answers import batch, gradient, labels, logits
from hypothesis import given
from hypothesis import strategies as st

from reference.distillation.divergences import forward_kl
from reference.distillation.outputs import IGNORED, Outputs
from reference.distillation.response.dkd import DKD, decoupled
from reference.distillation.response.soft_labels import soft_divergence

SEED = st.integers(0, 999)
TEMPERATURE = st.floats(0.5, 20)


@given(SEED, TEMPERATURE, st.integers(2, 9))
def test_the_divergence_is_tckd_and_doubt_times_nckd(seed, temperature, classes):
    z, v = logits(seed, 5, classes), logits(seed + 1, 5, classes)
    wanted = labels(seed, classes, 5)
    parts = decoupled(z, v, wanted, temperature)
    whole = forward_kl(z / temperature, v / temperature)
    torch.testing.assert_close(
        parts.target + parts.doubt * parts.others, whole, rtol=1e-9, atol=1e-9
    )
    p = (v / temperature).softmax(-1)
    torch.testing.assert_close(1 - parts.doubt, p.gather(1, wanted[:, None])[:, 0])


@given(SEED)
def test_the_parts_are_what_their_names_say(seed):
    z, v, wanted = logits(seed, 1, 4), logits(seed + 1, 1, 4), labels(seed, 4, 1)
    parts, t = decoupled(z, v, wanted), wanted.item()
    p, q = v.softmax(-1)[0], z.softmax(-1)[0]
    target = p[t] * (p[t] / q[t]).log() + (1 - p[t]) * ((1 - p[t]) / (1 - q[t])).log()
    rest = [c for c in range(4) if c != t]
    p_rest, q_rest = p[rest] / (1 - p[t]), q[rest] / (1 - q[t])
    torch.testing.assert_close(parts.target[0], target, rtol=1e-9, atol=1e-9)
    others = (p_rest * (p_rest / q_rest).log()).sum()
    torch.testing.assert_close(parts.others[0], others, rtol=1e-9, atol=1e-9)


@given(SEED)
def test_nckd_does_not_see_the_label_and_tckd_does_not_see_how_the_rest_is_shared_out(seed):
    z, v, wanted = logits(seed, 3, 5), logits(seed + 1, 3, 5), torch.zeros(3, dtype=torch.int64)
    parts = decoupled(z, v, wanted)
    moved_z, moved_v = z.clone(), v.clone()
    moved_z[:, 0] += 7
    moved_v[:, 0] -= 2
    torch.testing.assert_close(decoupled(moved_z, moved_v, wanted).others, parts.others)
    order = torch.tensor([0, 3, 1, 4, 2])
    torch.testing.assert_close(decoupled(z[:, order], v, wanted).target, parts.target)


def test_two_classes_have_no_others():
    z, v = logits(0, 4, 2), logits(1, 4, 2)
    assert not decoupled(z, v, labels(0, 2, 4)).others.any()


@given(SEED, st.floats(0.5, 0.999))
def test_a_sure_teacher_makes_soft_labels_faint_and_nckd_not(seed, sure):
    z, v, wanted = logits(seed, 4, 5), logits(seed + 1, 4, 5), torch.zeros(4, dtype=torch.int64)
    for each in (z, v):  # equally sure, so that nothing but the others is left to learn
        each[:, 0] = each[:, 1:].logsumexp(-1) + math.log(sure / (1 - sure))

    def others(x):
        return DKD(0.0, 1.0, 1.0, hard=0.0)(Outputs(x), Outputs(v), batch(wanted), 1.0)

    whole = gradient(lambda x: soft_divergence(x, v), z)
    torch.testing.assert_close(whole, (1 - sure) * gradient(others, z), rtol=1e-9, atol=1e-12)


@given(SEED, TEMPERATURE, st.floats(0, 1))
def test_the_loss_is_the_weighted_sum_and_warms_up(seed, temperature, progress):
    z, v, wanted = logits(seed, 5, 4), logits(seed + 1, 5, 4), labels(seed, 4, 5)
    objective = DKD(2.0, 3.0, temperature, hard=0.5, warmup=0.25)
    parts = decoupled(z, v, wanted, temperature)
    soft = temperature**2 * (2 * parts.target + 3 * parts.others).mean()
    expected = 0.5 * F.cross_entropy(z, wanted) + min(4 * progress, 1) * soft
    found = objective(Outputs(z), Outputs(v), batch(wanted), progress)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    at_once = DKD(2.0, 3.0, temperature, warmup=0.0)
    start = at_once(Outputs(z), Outputs(v), batch(wanted), 0.0)
    torch.testing.assert_close(start, F.cross_entropy(z, wanted) + soft, rtol=1e-9, atol=1e-9)


def test_equal_answers_have_neither_part_nor_gradient():
    v, wanted = logits(0, 4, 5), labels(0, 5, 4)
    parts = decoupled(v, v, wanted)
    assert not parts.target.any()
    assert not parts.others.any()
    objective = DKD(hard=0.0)
    found = gradient(lambda x: objective(Outputs(x), Outputs(v), batch(wanted), 1.0), v)
    assert found.abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_have_finite_losses_and_gradients(dtype):
    z = torch.tensor([[1e4, -1e4, 0.0, 5.0], [-1e4, 1e4, 1e4, 0.0]], dtype=dtype)
    v = torch.tensor([[-1e4, 1e4, 0.0, -math.inf], [1e4, 0.0, -1e4, 0.0]], dtype=dtype)
    wanted, objective = torch.tensor([0, 0]), DKD(temperature=1.0)

    def loss(x):
        return objective(Outputs(x), Outputs(v), batch(wanted), 1.0)

    assert torch.isfinite(loss(z))
    assert torch.isfinite(gradient(loss, z)).all()


def test_gradients_are_those_of_finite_differences():
    z, v, wanted = logits(0, 3, 4).requires_grad_(), logits(1, 3, 4), labels(0, 4, 3)
    objective = DKD()
    assert torch.autograd.gradcheck(
        lambda x: objective(Outputs(x), Outputs(v), batch(wanted), 0.5), (z,)
    )


def test_padding_contributes_nothing():
    wanted = labels(0, 4, 2, 3)
    wanted[1, 1:] = IGNORED
    z, v = logits(0, 2, 3, 4), logits(1, 2, 3, 4)
    objective, kept = DKD(), wanted != IGNORED
    found = objective(Outputs(z), Outputs(v), batch(wanted), 1.0)
    short = objective(Outputs(z[kept]), Outputs(v[kept]), batch(wanted[kept]), 1.0)
    torch.testing.assert_close(found, short, rtol=1e-12, atol=0)


def test_what_has_no_others_is_refused():
    z, wanted = logits(0, 1, 3), torch.tensor([1])
    only = torch.tensor([[-math.inf, 0.0, -math.inf]]).double()
    with pytest.raises(ValueError, match="other than the label must be possible"):
        decoupled(z, only, wanted)
    with pytest.raises(ValueError, match="must be positive, got -1"):
        decoupled(z, z, wanted, -1.0)
