import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from small import batches, epoch, net
from torch import nn

from reference.distillation.loop import LoopConfig, distill_
from reference.distillation.outputs import IGNORED, Batch, Outputs
from reference.distillation.progressive.annealing import AnnealedLogits, anneal_, labels_alone
from reference.distillation.progressive.chain import EarlyStop, Stage, chain_, geometric_sizes
from reference.distillation.progressive.dense_guidance import (
    Committee,
    DenseGuidance,
    dense_chain_,
    kept_teachers,
)


def matching(student, teacher, batch, progress):
    soft = F.kl_div(student.logits.log_softmax(-1), teacher.logits.softmax(-1), reduction="sum")
    return soft / len(student.logits) + F.cross_entropy(student.logits, batch.labels)


def same(one: nn.Module, other: nn.Module) -> bool:
    there = other.state_dict()
    return all(torch.equal(each, there[name]) for name, each in one.state_dict().items())


def stage(student, steps=6, **config):
    return Stage(student, matching, LoopConfig(steps, learning_rate=0.05, **config))


def accuracy(model):
    with torch.no_grad():
        return sum(
            (model(batch.inputs).argmax(1) == batch.labels).float().mean().item()
            for batch in batches(seed=9)
        )


def test_a_chain_of_one_stage_is_plain_distillation_bit_for_bit():
    teacher = net(32, seed=1)
    plain, chained, dense = (net(dropout=0.5) for _ in range(3))
    config = LoopConfig(12, learning_rate=0.05)
    distill_(plain, teacher, matching, epoch, config)
    chain_(teacher, [Stage(chained, matching, config)], epoch)
    dense_chain_(teacher, [Stage(dense, matching, config)], epoch, drop=0.5)
    assert same(plain, chained)
    assert same(plain, dense)
    assert not same(plain, net())  # it has learnt


def test_every_stage_learns_from_the_one_before_it():
    teacher, assistant, student = net(32, seed=1), net(16, seed=2), net(8, seed=3)
    first, second = copy.deepcopy(assistant), copy.deepcopy(student)
    chain_(teacher, [stage(assistant), stage(student)], epoch)
    distill_(first, teacher, matching, epoch, stage(first).config)
    distill_(second, first, matching, epoch, stage(second).config)
    assert same(assistant, first)
    assert same(student, second)
    assert same(teacher, net(32, seed=1))


@given(st.floats(1, 1e9), st.floats(1e-3, 0.99), st.integers(0, 6))
def test_a_geometric_schedule_shrinks_by_one_factor(teacher, share, assistants):
    student = teacher * share
    sizes = [teacher, *geometric_sizes(teacher, student, assistants), student]
    assert len(sizes) == assistants + 2
    for above, here, below in zip(sizes, sizes[1:], sizes[2:], strict=False):
        assert here == pytest.approx((above * below) ** 0.5, rel=1e-9)
        assert above > here > below


def test_early_stopping_keeps_the_best_state_and_leaves():
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.9])
    states = []

    def score(model):
        assert not model.training
        states.append(copy.deepcopy(model.state_dict()))
        return next(scores)

    student = net(dropout=0.5)
    (learnt,) = chain_(net(32, seed=1), [stage(student, 20)], epoch, EarlyStop(score, 3, 2))
    assert (learnt.steps, learnt.best_step) == (12, 6)
    assert learnt.scores == (0.1, 0.5, 0.4, 0.3)
    assert all(torch.equal(each, states[1][name]) for name, each in student.state_dict().items())


def test_looking_at_scores_changes_nothing_that_is_learnt():
    plain, watched = net(dropout=0.5), net(dropout=0.5)
    distill_(plain, net(32, seed=1), matching, epoch, stage(plain, 7).config)
    better = iter(range(100))

    def score(model):
        torch.rand(5)  # a score that draws
        return next(better)

    (learnt,) = chain_(net(32, seed=1), [stage(watched, 7)], epoch, EarlyStop(score, 3, 1))
    assert (learnt.steps, learnt.best_step, len(learnt.scores)) == (7, 7, 3)
    assert same(plain, watched)


def test_a_chain_stops_early_on_held_out_data():
    teacher, assistant, student = net(64, seed=1), net(16, seed=2), net(8, seed=3)
    distill_(teacher, None, labels_alone, epoch, LoopConfig(80, learning_rate=0.05))
    before = accuracy(student)
    learnt = chain_(
        teacher, [stage(assistant, 60), stage(student, 60)], epoch, EarlyStop(accuracy, 10, 2)
    )
    for each in learnt:
        assert each.scores[each.best_step // 10 - 1] == max(each.scores)
    assert accuracy(student) == max(learnt[1].scores) > before


def test_every_larger_model_teaches():
    asked = []

    def asking(student, teacher, batch, progress):
        asked.append(tuple(teacher.logits.shape))
        return matching(student, teacher, batch, progress)

    stages = [Stage(net(h, seed=h), asking, LoopConfig(1)) for h in (24, 16, 8)]
    dense_chain_(net(32, seed=1), stages, epoch)
    assert asked == [(8, 3)] * (1 + 2 + 3)


def test_a_committee_says_what_its_members_say():
    members = [net(h, seed=h) for h in (4, 8, 16)]
    inputs = batches()[0].inputs
    said = Committee(members)(inputs)
    assert all(
        torch.equal(each, member(inputs)) for each, member in zip(said, members, strict=True)
    )


def test_dense_guidance_is_the_mean_of_what_teachers_ask_alone():
    batch, student = batches()[0], Outputs(net()(batches()[0].inputs))
    said = Committee([net(h, seed=h) for h in (4, 16)])(batch.inputs)
    alone = [matching(student, Outputs(each), batch, 0.0) for each in said]
    together = DenseGuidance(matching)(student, Outputs(said), batch, 0.0)
    torch.testing.assert_close(together, torch.stack(alone).mean())


@pytest.mark.parametrize("drop", [0.0, 0.3, 0.9])
def test_dropping_teachers_is_fair_and_leaves_one(drop):
    draws, teachers = 4000, 3
    kept = torch.stack([kept_teachers(teachers, drop) for _ in range(draws)])
    assert kept.any(1).all()
    weights = (kept / kept.sum(1, keepdim=True)).mean(0)
    # A weight lies within 0 and 1 with mean 1/3, so its deviation is at most sqrt(2)/3: 5 of them.
    assert (weights - 1 / teachers).abs().max() < 5 * 2**0.5 / 3 / draws**0.5
    expected = 1 - drop + drop**teachers / teachers
    assert (kept.float().mean(0) - expected).abs().max() < 5 * 0.5 / draws**0.5


def test_a_regressor_inside_dense_guidance_is_trained():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, student, teacher, batch, progress):
            return F.mse_loss(self.scale * student.logits, teacher.logits)

    objective = Scaled()
    dense_chain_(net(32, seed=1), [Stage(net(), objective, LoopConfig(3))], epoch)
    assert objective.scale.item() != 1


def test_annealed_logits_grow_from_a_share_to_all():
    objective = AnnealedLogits(4)
    seen = [objective.temperature(progress / 8) for progress in range(9)]
    assert seen == [4, 4, 3, 3, 2, 2, 1, 1, 1]
    assert [objective.factor(p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.25, 0.5, 0.75, 1, 1]


@given(st.integers(1, 20), st.floats(0, 1))
def test_annealed_regression_has_the_gradient_of_a_square(temperature, progress):
    student = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(4, 3, dtype=torch.float64)
    batch = Batch(torch.zeros(4, 1), torch.tensor([0, IGNORED, 2, 1]))
    objective = AnnealedLogits(temperature)
    loss = objective(Outputs(student), Outputs(teacher), batch, progress)
    (found,) = torch.autograd.grad(loss, student)
    expected = 2 / 9 * (student - objective.factor(progress) * teacher)
    expected[1] = 0  # ignored
    torch.testing.assert_close(found, expected)
    assert 1 / temperature <= objective.factor(progress) <= 1


def test_annealing_is_regression_and_then_labels_alone():
    teacher, annealed, by_hand = net(32, seed=1), net(), net()
    first, second = LoopConfig(8, learning_rate=0.05), LoopConfig(5, learning_rate=0.05)
    found = anneal_(annealed, teacher, epoch, 3, first, second)
    assert (len(found.regression), len(found.classification)) == (8, 5)
    distill_(by_hand, teacher, AnnealedLogits(3), epoch, first)
    distill_(by_hand, None, labels_alone, epoch, second)
    assert same(annealed, by_hand)


def chained(*models):
    return chain_(net(32, seed=1), [stage(model) for model in models], epoch)


TWICE = net()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (chained, "at least one stage"),
        (lambda: chained(TWICE, TWICE), "must be distinct"),
        (lambda: geometric_sizes(4.0, 4.0, 1), "> student > 0, got 4.0 and 4.0"),
        (lambda: geometric_sizes(4.0, 2.0, -1), "at least 0 assistants, got -1"),
        (lambda: EarlyStop(accuracy, 0, 1), "every_steps must be at least 1, got 0"),
        (lambda: EarlyStop(accuracy, 1, 0), "patience must be at least 1, got 0"),
        (
            lambda: chain_(
                net(), [stage(net())], epoch, EarlyStop(lambda model: float("nan"), 2, 1)
            ),
            "score is nan after 2 steps",
        ),
        (lambda: DenseGuidance(matching, 1.0), "below 1, got 1.0"),
        (
            lambda: DenseGuidance(matching)(
                Outputs(torch.zeros(2, 3)), Outputs(torch.zeros(2, 3)), batches()[0], 0.0
            ),
            "needs a committee",
        ),
        (lambda: AnnealedLogits(0), "at least 1, got 0"),
        (
            lambda: AnnealedLogits(2)(Outputs(torch.zeros(2, 3)), None, batches()[0], 0.0),
            "need a teacher",
        ),
        (
            lambda: AnnealedLogits(2)(
                Outputs(torch.zeros(2, 3)),
                Outputs(torch.zeros(2, 3)),
                Batch(torch.zeros(2, 1), torch.full((2,), IGNORED)),
                0.0,
            ),
            "nothing in the batch has a label",
        ),
    ],
)
def test_what_is_no_chain_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
