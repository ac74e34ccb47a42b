"""Claims about targets that a network makes of itself: BYOT, CS-KD, PS-KD."""

import copy

import pytest
import torch
import torch.nn.functional as F
from committees import drawn, gradient
from hypothesis import given
from hypothesis import strategies as st
from small import CLASSES, FEATURES, batches, epoch, net
from torch import nn

from reference.distillation.loop import LoopConfig, distill_
from reference.distillation.outputs import IGNORED, Batch, Outputs, observe
from reference.distillation.own_teacher.byot import BeYourOwnTeacher, Head
from reference.distillation.own_teacher.class_wise import ClassWise, pairs, partners
from reference.distillation.own_teacher.progressive_self import NumberedBatch, ProgressiveTargets
from reference.distillation.progressive.annealing import labels_alone
from reference.distillation.response.soft_labels import soft_divergence

seeds = st.integers(0, 10_000)
CONFIG = LoopConfig(8, learning_rate=0.05, clip_norm=None)


def same(one: nn.Module, other: nn.Module) -> bool:
    there = other.state_dict()
    return all(torch.equal(each, there[name]) for name, each in one.state_dict().items())


def deep() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU()),
        nn.Sequential(nn.Linear(8, 10), nn.ReLU()),
        nn.Sequential(nn.Linear(10, 12), nn.ReLU()),
        nn.Linear(12, CLASSES),
    )


def own_teacher(**numbers: float) -> BeYourOwnTeacher:
    torch.manual_seed(1)
    heads = {
        "0": Head(nn.Linear(8, 12), nn.Linear(12, CLASSES)),
        "1": Head(nn.Linear(10, 12), nn.Linear(12, CLASSES)),
    }
    return BeYourOwnTeacher(heads, "2", **numbers)


def asked(objective: BeYourOwnTeacher, model: nn.Module, batch: Batch) -> torch.Tensor:
    return objective(observe(model, batch.inputs, objective.taps.student), None, batch, 0.0)


def test_your_own_teacher_is_the_papers_formula():
    model, objective = deep(), own_teacher(temperature=3.0, alpha=0.3, feature_weight=0.5)
    batch = batches()[0]
    first = model[0](batch.inputs)
    second = model[1](first)
    deepest = model[2](second)
    logits = model[3](deepest)
    expected = F.cross_entropy(logits, batch.labels)
    for features, head in zip((first, second), objective.heads, strict=True):
        brought = head.bottleneck(features)
        shallow = head.classifier(brought)
        hard = F.cross_entropy(shallow, batch.labels)
        expected += 0.7 * hard + 0.3 * soft_divergence(shallow, logits, 3.0)
        expected += 0.5 * (brought - deepest).square().mean()
    torch.testing.assert_close(asked(objective, model, batch), expected)


def test_the_deepest_is_a_target_of_the_shallow_ones():
    model, batch = deep(), batches()[0]
    asked(own_teacher(feature_weight=0.5), model, batch).backward()
    found = {name: each.grad.clone() for name, each in model.named_parameters()}
    model.zero_grad()
    F.cross_entropy(model(batch.inputs), batch.labels).backward()
    for name, parameter in model.named_parameters():
        deepest = name.startswith(("2", "3"))
        assert torch.allclose(found[name], parameter.grad) == deepest


def test_heads_are_trained_and_stay_behind():
    model, objective = deep(), own_teacher()
    names, before = list(model.state_dict()), copy.deepcopy(objective)
    distill_(model, None, objective, epoch, CONFIG, objective.taps)
    assert list(model.state_dict()) == names
    for old, new in zip(before.parameters(), objective.parameters(), strict=True):
        assert not torch.equal(old, new)
    inputs = batches(seed=3)[0].inputs
    watched = observe(model, inputs, objective.taps.student).logits
    assert torch.equal(model(inputs), watched)
    assert not any(module._forward_hooks for module in model.modules())


def test_every_class_has_partners_of_its_own():
    labels = torch.tensor([0, 1, 0, 2, 1, 0])
    seen = set()
    for seed in range(50):
        found = partners(labels, torch.Generator().manual_seed(seed))
        assert torch.equal(labels[found], labels)
        assert (found != torch.arange(6))[[0, 1, 2, 4, 5]].all()
        assert found[3] == 3  # alone in its class
        seen.add(found[0].item())
    assert seen == {2, 5}


def test_an_epoch_of_pairs_has_every_row_once():
    inputs, labels = torch.arange(10.0).unsqueeze(1), torch.arange(10) % 3
    found = list(pairs(inputs, labels, 4)(torch.Generator().manual_seed(0)))
    assert [len(batch.labels) for batch in found] == [8, 8, 4]
    own = torch.cat([batch.inputs[: len(batch.labels) // 2] for batch in found]).flatten()
    assert own.sort().values.tolist() == list(range(10))
    for batch in found:
        first, second = batch.labels.chunk(2)
        assert torch.equal(first, second)
        assert torch.equal(labels[batch.inputs.flatten().long()], batch.labels)


@given(seeds)
def test_class_wise_targets_are_the_partners(seed):
    _, committee, batch = drawn(seed, teachers=2)
    logits = committee.logits.flatten(0, 1).requires_grad_(True)
    both = Batch(torch.zeros(10, 1), batch.labels.repeat(2))
    found = gradient(ClassWise(4.0, 0.5), Outputs(logits), None, both)
    kept = batch.labels != IGNORED
    own, other, labels = logits[:5][kept], logits[5:][kept], batch.labels[kept]
    hard = own.softmax(-1) - F.one_hot(labels, 4)
    soft = 4 * ((own / 4).softmax(-1) - (other / 4).softmax(-1))
    torch.testing.assert_close(found[:5][kept], (hard + 0.5 * soft) / kept.sum())
    assert not found[5:].any()


def test_an_example_that_is_its_own_partner_teaches_nothing():
    student, _, batch = drawn(2)
    both = Outputs(torch.cat([student.logits, student.logits]))
    labels = Batch(torch.zeros(10, 1), batch.labels.repeat(2))
    expected = F.cross_entropy(student.logits, batch.labels)
    torch.testing.assert_close(ClassWise()(both, None, labels, 0.0), expected)


def numbered(batch: Batch, examples: list[int]) -> NumberedBatch:
    return NumberedBatch(batch.inputs, batch.labels, torch.tensor(examples))


def test_targets_are_refined_by_what_was_said_of_the_same_example():
    objective = ProgressiveTargets(examples=6, classes=CLASSES, last_alpha=0.8)
    first = NumberedBatch(torch.zeros(2, 1), torch.tensor([0, 1]), torch.tensor([4, 2]))
    labels = torch.tensor([1, 2, 0, IGNORED])
    second = NumberedBatch(torch.zeros(4, 1), labels, torch.tensor([2, 3, 4, 5]))
    earlier = torch.randn(2, CLASSES)
    objective(Outputs(earlier), None, first, 0.3)
    assert objective.known.tolist() == [False, False, True, False, True, False]
    logits = torch.randn(4, CLASSES, requires_grad=True)
    loss = objective(Outputs(logits), None, second, 0.5)
    (found,) = torch.autograd.grad(loss, logits)
    labels = F.one_hot(second.labels[:3], CLASSES).float()
    said = torch.stack([earlier[1].softmax(-1), labels[1], earlier[0].softmax(-1)])
    targets = 0.6 * labels + 0.4 * said  # a = 0.8 at half of the time
    torch.testing.assert_close(found[:3], (logits[:3].softmax(-1) - targets) / 3)
    assert not found[3].any()
    torch.testing.assert_close(objective.said[[2, 3, 4]], logits[:3].softmax(-1).detach())
    assert not objective.known[5]


def test_alpha_grows_to_its_last_value():
    objective = ProgressiveTargets(2, 3, 0.8)
    assert [objective.alpha(progress) for progress in (0.0, 0.25, 1.0)] == [0, 0.2, 0.8]


def test_with_an_alpha_of_0_labels_alone_are_learnt():
    def with_numbers(generator):
        found = batches()
        order = torch.randperm(len(found), generator=generator).tolist()
        return [numbered(found[i], list(range(8 * i, 8 * i + 8))) for i in order]

    refined, plain, moved = (net(dropout=0.5) for _ in range(3))
    config = LoopConfig(12, learning_rate=0.05)
    distill_(refined, None, ProgressiveTargets(32, CLASSES, 0.0), with_numbers, config)
    distill_(plain, None, labels_alone, epoch, config)
    distill_(moved, None, ProgressiveTargets(32, CLASSES, 0.8), with_numbers, config)
    for one, other in zip(refined.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other)  # targets of 0 and 1 round otherwise than labels
    assert not same(moved, refined)


def test_gradients_are_those_of_finite_differences():
    _, committee, batch = drawn(4, teachers=2)
    other = committee.logits[1]
    labels = Batch(torch.zeros(10, 1), batch.labels.repeat(2))

    def class_wise(own):
        return ClassWise()(Outputs(torch.cat([own, other])), None, labels, 0.0)

    def refined(own):
        objective = ProgressiveTargets(5, 4)
        objective.said, objective.known = other.softmax(-1), torch.ones(5, dtype=torch.bool)
        rows = NumberedBatch(torch.zeros(5, 1), torch.arange(5) % 4, torch.arange(5))
        return objective(Outputs(own), None, rows, 0.7)

    own = committee.logits[0].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(class_wise, own)
    assert torch.autograd.gradcheck(refined, own)


BATCH = batches()[0]
SAID = Outputs(torch.zeros(8, CLASSES))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: BeYourOwnTeacher({}, "2"), "stages other than '2'"),
        (
            lambda: BeYourOwnTeacher({"2": Head(nn.ReLU(), nn.ReLU())}, "2"),
            r"stages other than '2', got \['2'\]",
        ),
        (lambda: own_teacher(alpha=1.2), "within 0 and 1, got 1.2"),
        (lambda: own_teacher(feature_weight=-1.0), "at least 0, got -1.0"),
        (
            lambda: asked(
                BeYourOwnTeacher({"0": Head(nn.Linear(8, 5), nn.Linear(5, 3))}, "2"), deep(), BATCH
            ),
            r"bottleneck of '0' gives features of \(8, 5\), not \(8, 12\)",
        ),
        (lambda: pairs(torch.zeros(4, 1), torch.zeros(4).long(), 0), "at least 1, got 0"),
        (lambda: ClassWise(soft_weight=-1.0), "at least 0, got -1.0"),
        (lambda: ClassWise()(SAID, None, BATCH, 0.0), "same labels, got"),
        (lambda: ProgressiveTargets(4, 3, 1.5), "within 0 and 1, got 1.5"),
        (lambda: ProgressiveTargets(0, 3), "at least 1 example, got 0"),
        (lambda: ProgressiveTargets(8, 3)(SAID, None, BATCH, 0.0), "numbered, got a Batch"),
        (
            lambda: ProgressiveTargets(7, 3)(SAID, None, numbered(BATCH, list(range(8))), 0.0),
            "from 0 to 6, got",
        ),
    ],
)
def test_what_cannot_teach_itself_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
