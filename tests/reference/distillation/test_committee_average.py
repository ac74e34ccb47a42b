"""Claims about averages of teachers. 1e-9 is float64's over a few exponentials and logarithms."""

import math

import pytest
import torch
from committees import drawn, gradient
from hypothesis import given
from hypothesis import strategies as st
from small import epoch, net

from reference.distillation.committee.average import (
    AverageLogits,
    AverageProbabilities,
    mixed_logits,
    mixed_probabilities,
)
from reference.distillation.committee.weighted import (
    WeightedTeachers,
    uniform,
    voices,
    weighted_divergence,
)
from reference.distillation.loop import LoopConfig, distill_
from reference.distillation.outputs import IGNORED, Batch, Outputs
from reference.distillation.progressive.dense_guidance import Committee, DenseGuidance
from reference.distillation.response.mixing import HardAndSoft
from reference.distillation.response.soft_labels import soft_divergence

seeds = st.integers(0, 10_000)
temperatures = st.sampled_from([0.5, 1.0, 4.0, 20.0])
SOFT = HardAndSoft(alpha=1.0, temperature=3.0)


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@given(seeds, temperatures)
def test_mixed_probabilities_are_the_mean_of_probabilities(seed, temperature):
    _, teacher, _ = drawn(seed)
    mixed = mixed_probabilities(teacher.logits, temperature)
    close((mixed / temperature).softmax(-1), (teacher.logits / temperature).softmax(-1).mean(0))
    weighted = mixed_probabilities(teacher.logits, temperature, [0.5, 0.25, 0.25])
    each = (teacher.logits / temperature).softmax(-1)
    close((weighted / temperature).softmax(-1), each[0] / 2 + each[1] / 4 + each[2] / 4)


@given(seeds, temperatures)
def test_mixed_logits_are_the_geometric_mean_of_probabilities(seed, temperature):
    _, teacher, _ = drawn(seed)
    each = (teacher.logits / temperature).softmax(-1)
    geometric = each.prod(0) ** (1 / 3)
    expected = geometric / geometric.sum(-1, keepdim=True)
    close((mixed_logits(teacher.logits) / temperature).softmax(-1), expected)


def test_the_two_means_differ():
    said = torch.tensor([[[6.0, 0.0, 0.0]], [[0.0, 6.0, 0.0]]])
    arithmetic = mixed_probabilities(said, 1.0).softmax(-1)
    geometric = mixed_logits(said).softmax(-1)
    assert arithmetic[0, 2] < 0.003  # neither teacher believes in the third class
    assert geometric[0, 2] > 0.02  # and what they disagree about is lost to it
    excluded = torch.tensor([[[0.0, -math.inf]], [[0.0, 0.0]]])
    assert mixed_probabilities(excluded, 1.0).softmax(-1)[0, 1].item() == pytest.approx(0.25)
    assert mixed_logits(excluded).softmax(-1)[0, 1] == 0


@given(seeds, temperatures)
def test_one_by_one_is_the_mean_of_probabilities_and_a_constant(seed, temperature):
    student, teacher, batch = drawn(seed)
    heard = voices(student, teacher, batch)
    one_by_one = weighted_divergence(heard, uniform(heard), temperature)
    mixed = mixed_probabilities(heard.teachers, temperature)
    together = soft_divergence(heard.student, mixed, temperature)
    other = soft_divergence(torch.zeros_like(heard.student), mixed, temperature)
    elsewhere = heard._replace(student=torch.zeros_like(heard.student))
    constant = weighted_divergence(elsewhere, uniform(heard), temperature) - other
    close(one_by_one, together + constant)
    assert constant >= 0  # the divergence of Jensen and Shannon
    slopes = [
        torch.autograd.grad(loss, student.logits, retain_graph=True)[0]
        for loss in (one_by_one, together)
    ]
    close(*slopes)


@given(seeds)
def test_weights_of_each_example_mix_its_probabilities(seed):
    student, teacher, batch = drawn(seed)
    heard = voices(student, teacher, batch)
    weights = torch.rand(3, len(heard.labels), dtype=torch.float64).softmax(0)
    found = torch.autograd.grad(weighted_divergence(heard, weights, 3.0), student.logits)[0]
    mixture = (weights.unsqueeze(2) * (heard.teachers / 3).softmax(-1)).sum(0)
    expected = torch.zeros_like(student.logits)
    expected[:-1] = 3 * ((heard.student / 3).softmax(-1) - mixture) / len(heard.labels)
    close(found, expected)


def test_gradients_are_those_of_finite_differences():
    student, teacher, batch = drawn(0)
    for objective in (
        WeightedTeachers(uniform, temperature=2.0),
        AverageProbabilities(HardAndSoft(temperature=2.0), 2.0),
        AverageLogits(HardAndSoft(temperature=2.0)),
    ):
        assert torch.autograd.gradcheck(
            lambda logits, objective=objective: objective(Outputs(logits), teacher, batch, 0.0),
            student.logits,
        )


@pytest.mark.parametrize(
    "several",
    [
        AverageProbabilities(HardAndSoft(0.7, 3.0), 3.0),
        AverageProbabilities(HardAndSoft(0.7, 3.0), 3.0, [1.0]),
        AverageLogits(HardAndSoft(0.7, 3.0)),
        WeightedTeachers(uniform, 3.0, 0.7),
    ],
)
def test_one_teacher_is_plain_distillation_bit_for_bit(several):
    teacher, plain, committee = net(32, seed=1), net(dropout=0.5), net(dropout=0.5)
    config = LoopConfig(10, learning_rate=0.05)
    expected = distill_(plain, teacher, HardAndSoft(0.7, 3.0), epoch, config)
    assert distill_(committee, Committee([teacher]), several, epoch, config) == expected
    assert all(
        torch.equal(one, other)
        for one, other in zip(plain.parameters(), committee.parameters(), strict=True)
    )


@given(seeds)
def test_identical_teachers_are_one_teacher(seed):
    student, teacher, batch = drawn(seed, teachers=1)
    several = Outputs(teacher.logits.expand(4, -1, -1))
    expected = gradient(SOFT, student, Outputs(teacher.logits[0]), batch)
    objectives = [
        AverageProbabilities(SOFT, 3.0),
        AverageLogits(SOFT),
        WeightedTeachers(uniform, 3.0, 1.0),
        DenseGuidance(SOFT),
    ]
    for objective in objectives:
        close(gradient(objective, student, several, batch), expected)


@given(seeds, st.permutations(range(3)))
def test_the_order_of_teachers_does_not_matter(seed, order):
    student, teacher, batch = drawn(seed)
    other = Outputs(teacher.logits[list(order)])
    weights = [0.5, 0.3, 0.2]
    moved = [weights[k] for k in order]
    for objective, there in (
        (AverageProbabilities(SOFT, 3.0, weights), AverageProbabilities(SOFT, 3.0, moved)),
        (AverageLogits(SOFT, weights), AverageLogits(SOFT, moved)),
        (WeightedTeachers(uniform), WeightedTeachers(uniform)),
    ):
        close(objective(student, teacher, batch, 0.0), there(student, other, batch, 0.0))


@given(seeds)
def test_what_has_no_label_is_not_learnt(seed):
    student, teacher, batch = drawn(seed)
    for objective in (WeightedTeachers(uniform), AverageLogits(SOFT)):
        assert not gradient(objective, student, teacher, batch)[-1].any()


def test_a_committee_teaches_tokens_too():
    logits = torch.randn(2, 6, 7, requires_grad=True)
    teacher = Outputs(torch.randn(3, 2, 6, 7))
    labels = torch.randint(7, (2, 6))
    labels[1, 3:] = IGNORED
    batch = Batch(torch.zeros(2, 6), labels)
    found = gradient(WeightedTeachers(uniform), Outputs(logits), teacher, batch)
    assert found[labels != IGNORED].any(-1).all()
    assert not found[labels == IGNORED].any()


STUDENT, TEACHER, BATCH = drawn(0)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: voices(STUDENT, None, BATCH), "logits have an axis more"),
        (lambda: voices(STUDENT, Outputs(TEACHER.logits[0]), BATCH), "logits have an axis more"),
        (lambda: AverageLogits(SOFT)(STUDENT, None, BATCH, 0.0), "logits have an axis more"),
        (lambda: mixed_probabilities(TEACHER.logits, 0.0), "must be above 0, got 0.0"),
        (lambda: mixed_logits(TEACHER.logits, [1.0]), r"3 teachers need .*got \[1.0\]"),
        (lambda: mixed_logits(TEACHER.logits, [0.5, 0.4, 0.0]), "weights above 0"),
        (lambda: mixed_logits(TEACHER.logits, [0.5, 0.4, 0.3]), "add up to 1"),
        (lambda: mixed_logits(TEACHER.logits[:0]), "at least one teacher"),
        (lambda: WeightedTeachers(uniform, alpha=1.5), "within 0 and 1, got 1.5"),
        (
            lambda: WeightedTeachers(uniform, temperature=-1.0)(STUDENT, TEACHER, BATCH, 0.0),
            "above 0, got -1.0",
        ),
        (
            lambda: WeightedTeachers(lambda heard: 2 * uniform(heard))(
                STUDENT, TEACHER, BATCH, 0.0
            ),
            "add up to 1",
        ),
    ],
)
def test_what_is_no_committee_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
