import copy
import math

import pytest
import torch
import torch.nn.functional as F
from committees import drawn
from hypothesis import given
from hypothesis import strategies as st
from small import batches, epoch, net
from torch import nn

from reference.distillation.loop import LoopConfig, distill_
from reference.distillation.online.moving_average import (
    MeanTeacher,
    average_,
    debiased,
    train_with_average_,
)
from reference.distillation.outputs import IGNORED, Batch, Outputs

decays = st.floats(0, 0.999)


def one_weight(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False).double()
    layer.weight.data.fill_(value)
    return layer


@given(decays, st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_the_average_is_the_recursion(decay, values):
    average, expected = one_weight(1.0), 1.0
    for value in values:
        average_(average, one_weight(value), decay)
        expected = decay * expected + (1 - decay) * value
    assert average.weight.item() == pytest.approx(expected, abs=1e-12)


@given(decays, st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_debiased_the_initial_weights_have_no_part(decay, values):
    average = one_weight(1e6)
    for step, value in enumerate(values):
        average_(average, one_weight(value), debiased(decay, step))
        weights = [decay ** (step - i) for i in range(step + 1)]
        expected = sum(w * v for w, v in zip(weights, values, strict=False)) / sum(weights)
        assert average.weight.item() == pytest.approx(expected, abs=1e-9)


@given(decays)
def test_the_first_step_is_the_model_and_the_last_is_the_decay(decay):
    assert debiased(decay, 0) == 0
    assert debiased(decay, 100_000) == pytest.approx(decay, abs=1e-9)


def test_without_the_correction_the_start_weighs_on():
    average = one_weight(1.0)
    for _ in range(10):
        average_(average, one_weight(0.0), 0.9)
    assert average.weight.item() == pytest.approx(0.9**10)


def test_counters_are_copied_and_tied_weights_averaged_once():
    class Tied(nn.Module):
        def __init__(self, value: float):
            super().__init__()
            self.norm = nn.BatchNorm1d(2)
            self.first = nn.Linear(2, 2, bias=False)
            self.second = nn.Linear(2, 2, bias=False)
            self.first.weight.data.fill_(value)
            self.second.weight = self.first.weight

    average, model = Tied(1.0), Tied(0.0)
    model.norm(torch.randn(4, 2) + 7)
    average_(average, model, 0.75)
    torch.testing.assert_close(average.second.weight, torch.full((2, 2), 0.75))
    assert average.norm.num_batches_tracked == 1
    torch.testing.assert_close(average.norm.running_mean, 0.25 * model.norm.running_mean)
    assert model.first.weight.sum() == 0


def test_a_student_is_taught_by_its_average():
    student, seen = net(dropout=0.5), []

    class Watching(MeanTeacher):
        def __call__(self, student, teacher, batch, progress):
            seen.append(teacher.logits)
            return super().__call__(student, teacher, batch, progress)

    start = copy.deepcopy(student).eval()
    found = train_with_average_(student, Watching(1.0), epoch, LoopConfig(4, 0.05), decay=0.9)
    first = epoch(torch.Generator().manual_seed(0))[0]
    assert torch.equal(seen[0], start(first.inputs))  # without dropout
    for name, value in found.average.named_parameters():
        assert not value.requires_grad
        assert not torch.equal(value, dict(student.named_parameters())[name])
        assert not torch.equal(value, dict(start.named_parameters())[name])


def test_with_a_decay_of_0_the_average_is_the_student():
    student = net()
    found = train_with_average_(student, MeanTeacher(1.0), epoch, LoopConfig(5, 0.05), decay=0.0)
    for one, other in zip(student.parameters(), found.average.parameters(), strict=True):
        assert torch.equal(one, other)


def test_without_weight_the_average_changes_nothing():
    def plain(student, teacher, batch, progress):
        return F.cross_entropy(student.logits, batch.labels)

    averaged, alone = net(dropout=0.5), net(dropout=0.5)
    config = LoopConfig(6, 0.05)
    train_with_average_(averaged, MeanTeacher(0.0), epoch, config, decay=0.9)
    distill_(alone, None, plain, epoch, config)
    for one, other in zip(averaged.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)


def test_consistency_is_asked_of_rows_without_a_label_too():
    student, committee, batch = drawn(0)
    teacher = Outputs(committee.logits[0])
    loss = MeanTeacher(3.0, ramp=0.0)(student, teacher, batch, 0.0)
    apart = (student.logits.softmax(-1) - teacher.logits.softmax(-1)).square().mean()
    torch.testing.assert_close(loss, F.cross_entropy(student.logits, batch.labels) + 3 * apart)
    nothing = Batch(batch.inputs, torch.full_like(batch.labels, IGNORED))
    alone = MeanTeacher(3.0, ramp=0.0)(student, teacher, nothing, 0.0)
    torch.testing.assert_close(alone, 3 * apart)
    assert torch.autograd.grad(alone, student.logits)[0][-1].any()
    assert torch.autograd.gradcheck(
        lambda logits: MeanTeacher(3.0)(Outputs(logits), teacher, batch, 0.2), student.logits
    )


def test_the_weight_of_consistency_rises_to_its_end():
    objective = MeanTeacher(2.0, ramp=0.5)
    assert objective.weight_at(0.0) == pytest.approx(2 * math.exp(-5))
    assert objective.weight_at(0.25) == pytest.approx(2 * math.exp(-5 / 4))
    assert [objective.weight_at(progress) for progress in (0.5, 1.0)] == [2.0, 2.0]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: debiased(1.0, 0), "below 1, got 1.0"),
        (lambda: debiased(0.9, -1), "counted from 0, got -1"),
        (lambda: average_(net(4), net(8), 0.9), r"'0.weight' is \(4, 6\), and \(8, 6\)"),
        (lambda: MeanTeacher(-1.0), "at least 0, got -1.0"),
        (lambda: MeanTeacher(1.0, ramp=2.0), "within 0 and 1, got 2.0"),
        (
            lambda: MeanTeacher(1.0)(Outputs(torch.zeros(8, 3)), None, batches()[0], 0.0),
            "needs a teacher",
        ),
        (
            lambda: train_with_average_(net(), MeanTeacher(1.0), epoch, LoopConfig(1), -0.5),
            "at least 0 and below 1, got -0.5",
        ),
    ],
)
def test_what_is_no_average_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
