"""Counts against counting by hand: 6 -> 8 -> 3 taught by 6 -> 16 -> 3, on 8 rows."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from small import batches, net
from torch import nn

from reference.distillation.loop import Taps
from reference.distillation.outputs import Batch
from reference.distillation.progressive.compute import (
    Spent,
    StepMacs,
    counted,
    equal_steps,
    step_macs,
    total_macs,
)


def matching(student, teacher, batch, progress):
    return F.mse_loss(student.logits, teacher.logits)


def plain(student, teacher, batch, progress):
    return F.cross_entropy(student.logits, batch.labels)


class Regressed(nn.Module):
    def __init__(self):
        super().__init__()
        self.regressor = nn.Linear(8, 16)

    def forward(self, student, teacher, batch, progress):
        return F.mse_loss(self.regressor(student.features["1"]), teacher.features["1"])


def test_a_step_of_a_perceptron_is_what_a_hand_counts():
    found = step_macs(net(8), net(16), matching, batches()[0])
    forward = 8 * (6 * 8 + 8 * 3)
    # The gradients of both weights, and of the second layer's inputs; nobody needs the first's.
    backward = 8 * (6 * 8 + 8 * 3) + 8 * (8 * 3)
    assert found == StepMacs(teachers=8 * (6 * 16 + 16 * 3), forward=forward, backward=backward)
    assert found.total == found.teachers + forward + backward


def test_without_a_teacher_its_part_is_nothing():
    assert step_macs(net(8), None, plain, batches()[0]).teachers == 0


def test_a_convolution_is_what_a_hand_counts():
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, stride=2))
    batch = Batch(torch.randn(2, 2, 7, 7), torch.zeros(2, 3, 3, dtype=torch.long))
    first, second = 2 * 49 * 4 * 2 * 9, 2 * 9 * 3 * 4 * 9
    found = step_macs(model, None, lambda s, t, b, p: s.logits.square().mean(), batch)
    assert (found.forward, found.backward) == (first + second, first + 2 * second)


def test_what_an_objective_trains_is_counted():
    taps = Taps(["1"], ["1"])
    found = step_macs(net(8), net(16), Regressed(), batches()[0], taps)
    regressor = 8 * 8 * 16
    assert found.forward == 8 * (6 * 8 + 8 * 3) + regressor
    # The head is run and is in no loss; the regressor has both gradients, the first layer one.
    assert found.backward == 2 * regressor + 8 * 6 * 8


def test_fused_attention_is_counted_too():
    q, k, v = torch.randn(3, 1, 2, 5, 4)
    found = counted(lambda: F.scaled_dot_product_attention(q, k, v))
    assert found.macs == 2 * (2 * 5 * 5 * 4)
    torch.testing.assert_close(found.result, F.scaled_dot_product_attention(q, k, v))


def test_counting_leaves_models_and_draws_alone():
    student = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    state = {name: each.clone() for name, each in student.state_dict().items()}
    drawn = torch.random.get_rng_state()
    step_macs(student, net(16), matching, batches()[0])
    assert all(torch.equal(each, state[name]) for name, each in student.state_dict().items())
    assert all(each.grad is None for each in student.parameters())
    assert torch.equal(torch.random.get_rng_state(), drawn)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10**9)), min_size=1, max_size=4))
def test_a_chain_costs_the_sum_of_its_stages(stages):
    spent = [Spent(str(i), n, StepMacs(0, macs, 0)) for i, (n, macs) in enumerate(stages)]
    assert total_macs(spent) == sum(n * macs for n, macs in stages)


@given(st.integers(1, 10**12), st.integers(1, 10**9))
def test_equal_steps_spend_the_budget_to_within_one_step(budget, macs):
    step = StepMacs(0, macs, 0)
    if budget < macs:
        with pytest.raises(ValueError, match="do not pay for one step"):
            equal_steps(budget, step)
        return
    assert 0 <= budget - equal_steps(budget, step) * macs < macs


def test_direct_distillation_gets_more_steps_than_the_last_stage_of_a_chain():
    batch = batches()[0]
    teacher, assistant, student = net(64), net(24), net(8)
    chain = [
        Spent("assistant", 100, step_macs(assistant, teacher, matching, batch)),
        Spent("student", 100, step_macs(student, assistant, matching, batch)),
    ]
    direct = step_macs(student, teacher, matching, batch)
    # By hand, in MACs for a row: 9 h forward, 12 h backward, 9 t of the teacher.
    assert total_macs(chain) == 100 * 8 * (9 * 64 + 30 * 24 + 21 * 8)
    assert equal_steps(total_macs(chain), direct) == 100 * (9 * 64 + 30 * 24 + 168) // (
        9 * 64 + 168
    )


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: StepMacs(0, -1, 0), "forward must be at least 0 MACs, got -1"),
        (lambda: Spent("a", -1, StepMacs(0, 1, 0)), "'a' must take at least 0 steps, got -1"),
        (lambda: equal_steps(5, StepMacs(0, 0, 0)), "0 MACs"),
    ],
)
def test_impossible_counts_are_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
