"""Claims about networks that teach each other: DML, ONE, KDCL. 1e-9 is float64's."""

import copy

import pytest
import torch
import torch.nn.functional as F
from committees import drawn
from hypothesis import given
from hypothesis import strategies as st
from small import CLASSES, FEATURES, batches, epoch, net
from torch import nn

from reference.distillation.loop import LoopConfig, distill_
from reference.distillation.online.collaborative import (
    GAP,
    Collaborative,
    general_weights,
    linear,
    linear_weights,
    min_logit,
    naive,
    weighted,
)
from reference.distillation.online.mutual import Mutual
from reference.distillation.online.one import NativeEnsemble, OnTheFly
from reference.distillation.outputs import IGNORED, Batch, Outputs
from reference.distillation.progressive.annealing import labels_alone
from reference.distillation.progressive.dense_guidance import Committee

seeds = st.integers(0, 10_000)
CONFIG = LoopConfig(8, learning_rate=0.05, clip_norm=None)
EQUAL = weighted(torch.tensor([0.5, 0.5]))


def same(one: nn.Module, other: nn.Module) -> bool:
    there = other.state_dict()
    return all(torch.equal(each, there[name]) for name, each in one.state_dict().items())


def peers(seed: int, count: int = 3) -> tuple[Outputs, Batch]:
    _, committee, batch = drawn(seed, count)
    return Outputs(committee.logits.requires_grad_(True)), batch


def slopes(objective, student: Outputs, batch: Batch) -> torch.Tensor:
    return torch.autograd.grad(objective(student, None, batch, 0.0), student.logits)[0]


@given(seeds, st.integers(2, 4))
def test_mutual_learning_is_the_papers_formula(seed, count):
    student, batch = peers(seed, count)
    kept = batch.labels != IGNORED
    said, labels = student.logits[:, kept], batch.labels[kept]
    expected = torch.zeros_like(student.logits)
    for k in range(count):
        q = said[k].softmax(-1)
        others = torch.stack([said[at].softmax(-1) for at in range(count) if at != k]).mean(0)
        expected[k, kept] = (q - F.one_hot(labels, 4) + q - others) / len(labels)
    torch.testing.assert_close(slopes(Mutual(), student, batch), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("objective", [Mutual(2.0, 0.7), OnTheFly(2.0)])
def test_gradients_are_those_of_finite_differences(objective):
    """Targets have no gradient, so they are held fixed while one network moves."""
    student, batch = peers(1)
    found = slopes(objective, student, batch)
    held = [Outputs(each.detach()) for each in student.logits]
    for k in range(len(held)):

        def loss(logits, k=k):
            if isinstance(objective, Mutual):
                moved = [*held[:k], Outputs(logits), *held[k + 1 :]]
                return objective.of_one(k, moved, batch)
            hard = F.cross_entropy(logits, batch.labels)
            if k == 0:  # the ensemble, which is only a target to the others
                return hard
            kept = batch.labels != IGNORED
            q, p = ((each / 2)[kept].log_softmax(-1) for each in (logits, held[0].logits))
            return hard + 4 * F.kl_div(q, p, reduction="batchmean", log_target=True)

        moving = held[k].logits.clone().requires_grad_(True)
        assert torch.autograd.gradcheck(loss, moving)
        torch.testing.assert_close(torch.autograd.grad(loss(moving), moving)[0], found[k])


@given(seeds)
def test_no_gradient_passes_into_a_peer(seed):
    student, batch = peers(seed)
    objective = Mutual(3.0)
    alone = objective.of_one(0, [Outputs(each) for each in student.logits], batch)
    (found,) = torch.autograd.grad(alone, student.logits)
    assert found[0].any()
    assert not found[1:].any()


@given(seeds)
def test_equal_networks_teach_each_other_nothing(seed):
    student, _, batch = drawn(seed)
    both = Outputs(torch.stack([student.logits, student.logits]))
    hard = 2 * F.cross_entropy(student.logits, batch.labels)
    torch.testing.assert_close(Mutual(3.0)(both, None, batch, 0.0), hard)
    naive_loss = Collaborative(naive, soft_weight=5.0)(both, None, batch, 0.0)
    torch.testing.assert_close(naive_loss, hard)


@pytest.mark.parametrize("objective", [Mutual(), Collaborative(min_logit), Collaborative(naive)])
def test_swapped_peers_learn_the_same(objective):
    one, other = net(seed=1), net(16, seed=2)
    there, here = copy.deepcopy(other), copy.deepcopy(one)
    losses = distill_(Committee([one, other]), None, objective, epoch, CONFIG)
    assert distill_(Committee([there, here]), None, objective, epoch, CONFIG) == losses
    assert same(one, here)
    assert same(other, there)
    assert not same(one, net(seed=1))


@pytest.mark.parametrize(
    "objective", [Mutual(soft_weight=0.0), Collaborative(naive, soft_weight=0.0)]
)
def test_peers_that_do_not_listen_learn_from_labels_alone(objective):
    together, alone = [net(seed=1), net(16, seed=2)], [net(seed=1), net(16, seed=2)]
    distill_(Committee(together), None, objective, epoch, CONFIG)
    for peer, plain in zip(together, alone, strict=True):
        distill_(plain, None, labels_alone, epoch, CONFIG)
        assert same(peer, plain)


def ensemble(seed: int = 0) -> NativeEnsemble:
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU())
    branches = [nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, CLASSES)) for _ in range(3)]
    return NativeEnsemble(trunk, branches, features=8)


@pytest.mark.parametrize("training", [True, False])
def test_a_gate_shares_out_one(training):
    model = ensemble().train(training)
    inputs = batches()[0].inputs
    shared = model.trunk(inputs)
    weights = model.gate_weights(shared)
    torch.testing.assert_close(weights.sum(1), torch.ones(len(inputs)))
    assert (weights > 0).all()
    first, *each = model(inputs)
    together = sum(
        weights[:, i : i + 1] * branch(shared) for i, branch in enumerate(model.branches)
    )
    torch.testing.assert_close(first, together)
    assert all(torch.equal(a, b(shared)) for a, b in zip(each, model.branches, strict=True))


def test_an_exported_branch_says_what_it_said_in_the_ensemble():
    model = ensemble()
    distill_(model, None, OnTheFly(), epoch, LoopConfig(6, learning_rate=0.05))
    model.eval()
    inputs = batches(seed=4)[0].inputs
    for branch in range(3):
        alone = model.student(branch)
        assert torch.equal(alone(inputs), model(inputs)[1 + branch])
        assert len(list(alone.parameters())) == 6
        alone[0][0].weight.data.zero_()
    assert model.trunk[0].weight.any()


def test_the_trunk_may_give_pictures():
    trunk = nn.Conv2d(1, 4, 3)
    branches = [nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES)) for _ in range(2)]
    assert NativeEnsemble(trunk, branches, 4)(torch.randn(5, 1, 8, 8)).shape == (3, 5, CLASSES)


def test_ensembles_learn():
    model = ensemble()
    losses = distill_(model, None, OnTheFly(), epoch, LoopConfig(60, learning_rate=0.05))
    assert sum(losses[-8:]) < 0.5 * sum(losses[:8])


@given(seeds, st.integers(2, 4))
def test_what_is_made_of_all_answers_is_no_worse_than_the_best(seed, count):
    student, batch = peers(seed, count)
    said, labels = student.logits[:, :-1].detach(), batch.labels[:-1]
    each = torch.stack([F.cross_entropy(one, labels, reduction="none") for one in said])
    best = each.amin(0)
    naively = F.cross_entropy(naive(said, labels), labels, reduction="none")
    torch.testing.assert_close(naively, best)
    for combine in (linear, min_logit):
        found = F.cross_entropy(combine(said, labels), labels, reduction="none")
        assert (found <= best + 1e-9).all()


@given(seeds, st.integers(2, 4))
def test_linear_weights_are_within_their_gap_of_every_combination(seed, count):
    student, batch = peers(seed, count)
    said, labels = student.logits[:, :-1].detach(), batch.labels[:-1]
    weights = linear_weights(said, labels)
    torch.testing.assert_close(weights.sum(0), torch.ones_like(weights[0]))
    assert (weights >= 0).all()

    def loss(shares):
        together = torch.einsum("pr,prc->rc", shares, said)
        return F.cross_entropy(together, labels, reduction="none")

    found = loss(weights)
    for _ in range(40):
        tried = torch.distributions.Dirichlet(torch.full((count,), 0.5).double())
        assert (found <= loss(tried.sample((len(labels),)).T) + GAP).all()


def test_a_combination_can_be_better_than_every_network():
    said = torch.tensor([[[0.0, 3.0, -3.0]], [[0.0, -3.0, 3.0]]])
    weights = linear_weights(said, torch.tensor([0]))
    torch.testing.assert_close(weights, torch.full((2, 1), 0.5).double(), rtol=0, atol=1e-6)
    assert min_logit(said, torch.tensor([0])).tolist() == [[0.0, -3.0, -3.0]]


def test_general_weights_are_those_of_the_smallest_squared_error():
    said, labels = 2 * torch.randn(3, 50, 4).double(), torch.randint(4, (50,))
    found = general_weights(said, labels)
    wrong = said.softmax(-1) - F.one_hot(labels, 4)

    def error(weights):
        return (weights.reshape(-1, 1, 1) * wrong).sum(0).square().sum()

    assert found.sum().item() == pytest.approx(1, abs=1e-12)
    for _ in range(50):
        other = torch.randn(3).double()
        assert error(found) <= error(found + 0.1 * (other - other.mean())) + 1e-9
    equal = general_weights(said[:1].expand(2, -1, -1), labels)
    torch.testing.assert_close(equal, torch.full((2,), 0.5).double(), rtol=0, atol=1e-6)


def test_a_combined_answer_is_a_target():
    student, batch = peers(5, 2)
    found = slopes(Collaborative(EQUAL, temperature=2.0), student, batch)
    kept = batch.labels != IGNORED
    said, labels = student.logits[:, kept], batch.labels[kept]
    aim = (said.mean(0) / 2).softmax(-1)
    expected = torch.zeros_like(found)
    expected[:, kept] = said.softmax(-1) - F.one_hot(labels, 4) + 2 * ((said / 2).softmax(-1) - aim)
    torch.testing.assert_close(found, expected / kept.sum())


ALONE, BATCH = peers(0, 1)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: Mutual()(ALONE, None, BATCH, 0.0), "two or more"),
        (lambda: Mutual()(Outputs(ALONE.logits[0]), None, BATCH, 0.0), "two or more"),
        (lambda: Mutual(soft_weight=-1.0), "at least 0, got -1.0"),
        (lambda: Mutual(temperature=0.0)(peers(0)[0], None, BATCH, 0.0), "positive"),
        (lambda: Collaborative(naive, soft_weight=-1.0), "at least 0, got -1.0"),
        (lambda: OnTheFly()(ALONE, None, BATCH, 0.0), "two or more"),
        (lambda: NativeEnsemble(nn.Identity(), [nn.Identity()], 4), "two branches or more, got 1"),
        (lambda: ensemble().student(3), "branches 0 to 2, not 3"),
    ],
)
def test_what_cannot_learn_together_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
