"""Claims about hard and soft labels together, and about what changes with the progress."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from answers import batch, gradient, labels, logits
from hypothesis import given
from hypothesis import strategies as st
from small import CLASSES, batches, epoch, net

from reference.distillation.loop import LoopConfig, distill_
from reference.distillation.outputs import IGNORED, Batch, Outputs
from reference.distillation.response.mixing import HardAndSoft
from reference.distillation.response.schedules import at, cosine, linear, stepped
from reference.distillation.response.soft_labels import logit_mse, soft_divergence

SEED = st.integers(0, 999)


def plain(student, teacher, batch, progress):
    return F.cross_entropy(student.logits, batch.labels)


def same(one, other):
    there = other.state_dict()
    return all(torch.equal(each, there[name]) for name, each in one.state_dict().items())


@pytest.mark.parametrize("alpha", [0.0, lambda progress: 0.0])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_alpha_0_is_plain_training_bit_for_bit(alpha, optimizer):
    alone, taught = net(dropout=0.5), net(dropout=0.5)
    config = LoopConfig(20, learning_rate=0.05, optimizer=optimizer)
    distill_(alone, None, plain, epoch, config)
    distill_(taught, net(32, seed=1, dropout=0.5), HardAndSoft(alpha), epoch, config)
    assert same(alone, taught)
    assert not same(alone, net())  # it has learnt


def test_alpha_0_is_plain_training_bit_for_bit_with_padding_too():
    z = logits(0, 3, 6, CLASSES)
    wanted = labels(0, CLASSES, 3, 6)
    wanted[:, 4:] = IGNORED
    expected = F.cross_entropy(z.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)
    assert torch.equal(HardAndSoft(0.0)(Outputs(z), None, batch(wanted), 0.0), expected)


@given(SEED)
def test_alpha_1_at_temperature_1_with_a_sure_teacher_is_plain_training(seed):
    z, wanted = logits(seed, 5, 4), labels(seed, 4, 5)
    sure = Outputs(F.one_hot(wanted, 4).double().log())

    def loss(x):
        return HardAndSoft(1.0, 1.0)(Outputs(x), sure, batch(wanted), 0.0)

    torch.testing.assert_close(loss(z), F.cross_entropy(z, wanted), rtol=1e-12, atol=0)
    expected = gradient(lambda x: F.cross_entropy(x, wanted), z)
    torch.testing.assert_close(gradient(loss, z), expected, rtol=1e-12, atol=1e-15)


@given(SEED, st.floats(0, 1), st.floats(0.5, 20))
def test_the_mixture_is_linear_in_alpha(seed, alpha, temperature):
    z, v, wanted = logits(seed, 5, 4), logits(seed + 1, 5, 4), labels(seed, 4, 5)

    def loss(share):
        objective = HardAndSoft(share, temperature)
        return objective(Outputs(z), Outputs(v), batch(wanted), 0.0)

    expected = (1 - alpha) * loss(0.0) + alpha * loss(1.0)
    torch.testing.assert_close(loss(alpha), expected, rtol=1e-12, atol=1e-12)


def test_at_alpha_1_what_labels_say_does_not_matter():
    z, v = logits(0, 5, 4), logits(1, 5, 4)
    said = [
        HardAndSoft(1.0)(Outputs(z), Outputs(v), batch(labels(seed, 4, 5)), 0.0) for seed in (0, 1)
    ]
    assert torch.equal(*said)


def test_alpha_and_temperature_follow_the_progress_of_the_loop():
    seen = []

    def watched(student, teacher, temperature):
        seen.append(temperature)
        return soft_divergence(student, teacher, temperature)

    objective = HardAndSoft(linear(1.0, 0.0), linear(9.0, 1.0), watched)
    distill_(net(), net(seed=1), objective, epoch, LoopConfig(5))
    assert seen == [9, 7, 5, 3]  # at the last step alpha is 0, and no teacher is needed


def test_a_student_learns_what_its_teacher_says():
    teacher = net(32, seed=1)
    apart = {}
    for steps in (1, 120):
        student = net()
        distill_(
            student, teacher, HardAndSoft(1.0, 2.0), epoch, LoopConfig(steps, learning_rate=0.05)
        )
        with torch.no_grad():
            inputs = torch.cat([each.inputs for each in batches()])
            apart[steps] = soft_divergence(student(inputs), teacher(inputs), 2.0).item()
    assert apart[120] < 0.05 * apart[1]


def test_any_divergence_can_be_mixed():
    z, v, wanted = logits(0, 5, 4), logits(1, 5, 4), labels(0, 4, 5)
    objective = HardAndSoft(0.3, 4.0, logit_mse)
    found = objective(Outputs(z), Outputs(v), batch(wanted), 0.0)
    expected = 0.7 * F.cross_entropy(z, wanted) + 0.3 * F.mse_loss(z, v)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_schedules_begin_and_end_where_they_say(first, last):
    for schedule in (linear(first, last), cosine(first, last)):
        assert schedule(0.0) == pytest.approx(first, abs=1e-12)
        assert schedule(1.0) == pytest.approx(last, abs=1e-12)
        assert schedule(0.5) == pytest.approx((first + last) / 2, abs=1e-12)
        values = [schedule(i / 20) * math.copysign(1, last - first) for i in range(21)]
        assert all(a <= b + 1e-12 for a, b in pairwise(values))


def test_a_cosine_is_slow_at_both_ends():
    schedule = cosine(0.0, 1.0)
    assert schedule(0.1) < linear(0.0, 1.0)(0.1)
    assert schedule(0.9) > linear(0.0, 1.0)(0.9)


def test_steps_hold_until_the_next_begins():
    schedule = stepped((0.0, 8.0), (0.5, 4.0), (0.75, 1.0))
    assert [schedule(p) for p in (0, 0.49, 0.5, 0.7, 0.75, 1)] == [8, 8, 4, 4, 1, 1]
    assert at(schedule, 0.6) == 4
    assert at(3.0, 0.6) == 3


def ask(objective: HardAndSoft, teacher: Outputs | None = None):
    return objective(Outputs(logits(0, 3, 4)), teacher, Batch(torch.zeros(3), labels(0, 4, 3)), 0.5)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: ask(HardAndSoft(1.5)), "alpha must be within 0 and 1, got 1.5"),
        (lambda: ask(HardAndSoft(linear(0.0, -1.0))), "got -0.5 at progress 0.5"),
        (lambda: ask(HardAndSoft(0.5)), "need a teacher, got none"),
        (lambda: ask(HardAndSoft(0.5, -1.0), Outputs(logits(1, 3, 4))), "positive and finite"),
        (stepped, "must begin at 0"),
        (lambda: stepped((0.1, 1.0)), "must begin at 0"),
        (lambda: stepped((0.0, 1.0), (0.5, 2.0), (0.5, 3.0)), "rise"),
        (lambda: stepped((0.0, 1.0), (1.5, 2.0)), "at most 1"),
    ],
)
def test_what_cannot_be_mixed_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
