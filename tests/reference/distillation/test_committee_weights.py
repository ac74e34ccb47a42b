"""Claims about who teaches: confidence, routing, agreement. 1e-9: see test_committee_average.py."""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from committees import drawn, gradient
from hypothesis import given
from hypothesis import strategies as st
from small import epoch, net
from torch import nn

from reference.distillation.committee.adaptive_ensemble import agreeing, agreeing_weights
from reference.distillation.committee.confidence import (
    ConfidentTeachers,
    Reader,
    confidence,
    confident,
)
from reference.distillation.committee.routing import best, by_entropy, entropies, surest
from reference.distillation.committee.weighted import WeightedTeachers, uniform, voices
from reference.distillation.loop import LoopConfig, distill_
from reference.distillation.outputs import Batch, Outputs, observe, taught
from reference.distillation.progressive.dense_guidance import Committee
from reference.distillation.response.mixing import HardAndSoft

ALL = {
    "uniform": uniform,
    "confident": confident,
    "best": best,
    "surest": surest,
    "by_entropy": by_entropy,
    "agreeing": agreeing(2.0),
    "agreeing, capped": agreeing(2.0, 0.5),
}
each_weighting = pytest.mark.parametrize("weights", ALL.values(), ids=ALL)
seeds = st.integers(0, 10_000)


@each_weighting
@given(seed=seeds, teachers=st.integers(2, 4))
def test_weights_are_shares(weights, seed, teachers):
    found = weights(voices(*drawn(seed, teachers)))
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(0), torch.ones_like(found[0]), rtol=0, atol=1e-9)


@each_weighting
@given(seed=seeds, order=st.permutations(range(3)))
def test_weights_follow_their_teachers(weights, seed, order):
    heard = voices(*drawn(seed))
    moved = weights(heard._replace(teachers=heard.teachers[list(order)]))
    torch.testing.assert_close(moved, weights(heard)[list(order)], rtol=0, atol=1e-7)


@each_weighting
def test_one_teacher_is_plain_distillation_bit_for_bit(weights):
    if weights is ALL["agreeing, capped"]:
        weights = agreeing(2.0, 1.0)  # one teacher's share is 1
    teacher, plain, committee = net(32, seed=1), net(dropout=0.5), net(dropout=0.5)
    config = LoopConfig(6, learning_rate=0.05)
    expected = distill_(plain, teacher, HardAndSoft(0.7, 3.0), epoch, config)
    several = WeightedTeachers(weights, 3.0, 0.7)
    assert distill_(committee, Committee([teacher]), several, epoch, config) == expected


@each_weighting
@given(seed=seeds)
def test_identical_teachers_are_one_teacher(weights, seed):
    student, teacher, batch = drawn(seed, teachers=1)
    several = Outputs(teacher.logits.expand(3, -1, -1))
    found = gradient(WeightedTeachers(weights), student, several, batch)
    expected = gradient(HardAndSoft(), student, Outputs(teacher.logits[0]), batch)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@given(seeds, st.integers(2, 5))
def test_confidence_is_the_papers_formula(seed, teachers):
    heard = voices(*drawn(seed, teachers))
    losses = torch.stack(
        [F.cross_entropy(said, heard.labels, reduction="none") for said in heard.teachers]
    )
    expected = (1 - losses.exp() / losses.exp().sum(0)) / (teachers - 1)
    found = confident(heard)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert (found.argmax(0) == losses.argmin(0)).all()
    assert found.max() <= 1 / (teachers - 1)


def test_a_teacher_that_excludes_the_label_does_not_teach_it():
    said = torch.tensor([[[0.0, -math.inf]], [[0.0, 1.0]], [[0.0, 0.0]]])
    found = confidence(said, torch.tensor([1]))
    assert found[0].item() == 0
    torch.testing.assert_close(found[1:], torch.full((2, 1), 0.5))


@given(seeds)
def test_the_best_knows_the_label_and_the_surest_has_least_doubt(seed):
    heard = voices(*drawn(seed))
    right = heard.teachers.softmax(-1)[:, torch.arange(len(heard.labels)), heard.labels]
    assert torch.equal((best(heard) * right).sum(0), right.amax(0))
    doubts = -(heard.teachers.softmax(-1) * heard.teachers.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(entropies(heard.teachers), doubts)
    assert torch.equal(surest(heard).argmax(0), doubts.argmin(0))
    by_hand = (1 - doubts / doubts.sum(0)) / (len(doubts) - 1)
    torch.testing.assert_close(by_entropy(heard), by_hand)


def test_a_sure_teacher_that_is_wrong_teaches_only_where_nobody_asks_for_the_label():
    said = torch.tensor([[[9.0, 0.0]], [[0.0, 1.0]]])
    heard = voices(
        Outputs(torch.zeros(1, 2)), Outputs(said), Batch(torch.zeros(1, 1), torch.tensor([1]))
    )
    assert best(heard).flatten().tolist() == [0, 1]
    assert surest(heard).flatten().tolist() == [1, 0]


def test_teachers_without_any_doubt_weigh_the_same():
    said = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]]).unsqueeze(1)
    heard = voices(
        Outputs(torch.zeros(1, 2)), Outputs(said), Batch(torch.zeros(1, 1), torch.tensor([1]))
    )
    assert by_entropy(heard).flatten().tolist() == [0.5, 0.5]


@given(seeds, st.integers(1, 4), st.sampled_from([1, 2, 6]), st.sampled_from([1.0, 0.7, 0.5]))
def test_agreeing_weights_satisfy_the_conditions_of_the_optimum(seed, teachers, values, most):
    most = max(most, 1 / teachers)
    generator = torch.Generator().manual_seed(seed)
    gradients = torch.randn(teachers, values, generator=generator, dtype=torch.float64)
    found = agreeing_weights(gradients, most)
    slopes = gradients @ (found @ gradients)
    scale = gradients.square().sum(1).max().item()
    can_give, can_take = found > 1e-9, found < most - 1e-9
    if can_give.any() and can_take.any():  # no weight can move from one that has to one that may
        assert slopes[can_give].max() - slopes[can_take].min() <= 1e-7 * scale


@pytest.mark.parametrize("most", [1.0, 0.6])
@given(seed=seeds)
def test_no_point_of_a_grid_is_shorter(most, seed):
    generator = torch.Generator().manual_seed(seed)
    gradients = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    steps = torch.arange(21, dtype=torch.float64) / 20
    grid = torch.tensor([(a, b, 1 - a - b) for a, b in itertools.product(steps, steps)])
    grid = grid[(grid >= 0).all(1) & (grid <= most + 1e-12).all(1)]
    shortest = (agreeing_weights(gradients, most) @ gradients).norm()
    assert shortest <= (grid @ gradients).norm(dim=1).min() + 1e-9


def test_two_gradients_have_a_closed_form():
    for seed in range(30):
        one, other = torch.randn(2, 5, generator=torch.Generator().manual_seed(seed)).double()
        share = ((other - one) @ other / (one - other).square().sum()).clamp(0, 1)
        found = agreeing_weights(torch.stack([one, other]))
        torch.testing.assert_close(found, torch.stack([share, 1 - share]))


@given(seeds)
def test_a_step_lowers_the_loss_of_every_teacher(seed):
    gradients = torch.randn(3, 8, generator=torch.Generator().manual_seed(seed)).double()
    together = agreeing_weights(gradients) @ gradients
    slack = 1e-7 * gradients.square().sum(1).max()
    assert (gradients @ together >= together.square().sum() - slack).all()


def test_with_the_smallest_cap_all_teachers_weigh_the_same():
    gradients = torch.randn(4, 6)
    torch.testing.assert_close(
        agreeing_weights(gradients, 0.25), torch.full((4,), 0.25, dtype=torch.float64)
    )


def test_of_many_solutions_the_most_even_one_is_taken():
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    found = agreeing_weights(torch.stack([one, other, one]))
    torch.testing.assert_close(found, torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64))
    nothing = agreeing_weights(torch.zeros(3, 2))
    torch.testing.assert_close(nothing, torch.full((3,), 1 / 3, dtype=torch.float64))


def test_agreement_looks_at_the_gradients_of_the_logits():
    student, teacher, batch = drawn(3)
    objective = HardAndSoft(alpha=1.0, temperature=2.0)
    gradients = torch.stack(
        [gradient(objective, student, Outputs(said), batch).flatten() for said in teacher.logits]
    )
    found = agreeing(2.0)(voices(student, teacher, batch)).flatten()
    torch.testing.assert_close(found, agreeing_weights(gradients), rtol=0, atol=1e-7)


def reading(student: nn.Module, committee: Committee, feature_weight: float = 1.0):
    readers = [
        Reader(f"members.{k}.1", nn.Linear(8, member[0].out_features), member[3])
        for k, member in enumerate(committee.members)
    ]
    answers = WeightedTeachers(confident, 3.0, 0.7)
    return ConfidentTeachers("1", readers, answers, feature_weight)


def asked(objective, student, committee, batch):
    answer = observe(student, batch.inputs, objective.taps.student)
    said = taught(committee, batch.inputs, objective.taps.teacher)
    return objective(answer, said, batch, 0.0)


def test_the_feature_term_is_the_papers_formula():
    student, committee = net(), Committee([net(16, seed=1), net(12, seed=2)])
    objective, without = reading(student, committee, 1.0), reading(student, committee, 0.0)
    (batch,) = epoch(torch.Generator())[:1]
    features = student[:2](batch.inputs)
    losses, squares = [], []
    for member, regressor in zip(committee.members, objective.regressors, strict=True):
        reached = regressor(features)
        losses.append(F.cross_entropy(member[3](reached), batch.labels, reduction="none"))
        squares.append((reached - member[:2](batch.inputs)).square().mean(1))
    weights = 1 - torch.stack(losses).softmax(0)  # over K - 1 = 1
    found = asked(objective, student, committee, batch) - asked(without, student, committee, batch)
    torch.testing.assert_close(found, (weights * torch.stack(squares)).sum(0).mean())


def test_regressors_are_trained_and_classifiers_are_not():
    student, committee = net(), Committee([net(16, seed=1), net(12, seed=2)])
    objective = reading(student, committee)
    before, names = copy.deepcopy(objective), list(student.state_dict())
    distill_(student, committee, objective, epoch, LoopConfig(4), objective.taps)
    for old, new in zip(before.regressors, objective.regressors, strict=True):
        assert not torch.equal(old.weight, new.weight)
    for old, new in zip(before.classifiers, objective.classifiers, strict=True):
        assert torch.equal(old.weight, new.weight)
    assert list(student.state_dict()) == names
    assert not objective.classifiers.training


def misread():
    student, committee = net(), Committee([net(16, seed=1)])
    objective = ConfidentTeachers("1", [Reader("members.0.1", nn.Linear(8, 9), nn.Linear(9, 3))])
    return asked(objective, student, committee, epoch(torch.Generator())[0])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: agreeing_weights(torch.zeros(7, 2)), "1 to 6 teachers, got 7"),
        (lambda: agreeing_weights(torch.zeros(2, 2), 0.4), "within 1/2 and 1, got 0.4"),
        (lambda: agreeing_weights(torch.full((2, 2), math.nan)), "inf or nan"),
        (lambda: ConfidentTeachers("1", []), "no readers"),
        (
            lambda: ConfidentTeachers(
                "1", [Reader("0", nn.ReLU(), nn.ReLU())], feature_weight=-1.0
            ),
            "at least 0, got -1.0",
        ),
        (misread, r"'members.0.1' gives features of \(8, 9\), not \(8, 16\)"),
    ],
)
def test_what_cannot_be_weighed_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
