"""Claims about networks that are their own teachers, and about the closed form of kernel ridge."""

import math

import pytest
import torch
import torch.nn.functional as F
from committees import drawn, gradient
from hypothesis import assume, given
from hypothesis import strategies as st
from small import batches, epoch, net
from torch import nn

from reference.distillation.loop import LoopConfig, distill_
from reference.distillation.outputs import IGNORED, Outputs
from reference.distillation.own_teacher.born_again import (
    confidence_weighted,
    dark_knowledge_permuted,
    generations,
    permuted,
)
from reference.distillation.own_teacher.kernel_ridge import (
    answers,
    dual_coefficients,
    ridge_for_error,
    ridges_for_error,
    shrinkage,
    spectrum,
)
from reference.distillation.progressive.annealing import labels_alone
from reference.distillation.response.mixing import HardAndSoft

seeds = st.integers(0, 10_000)
CONFIG = LoopConfig(8, learning_rate=0.05)
SOFT = HardAndSoft()


def same(one: nn.Module, other: nn.Module) -> bool:
    there = other.state_dict()
    return all(torch.equal(each, there[name]) for name, each in one.state_dict().items())


def born(generation: int) -> nn.Module:
    return net(seed=generation, dropout=0.5)


def test_generation_0_is_the_baseline_and_each_is_taught_by_the_one_before():
    found = generations(born, 2, SOFT, epoch, CONFIG)
    assert len(found) == 3
    before = None
    for generation, model in enumerate(found):
        expected = born(generation)
        objective = SOFT if generation else labels_alone
        distill_(expected, before, objective, epoch, CONFIG)
        assert same(model, expected)
        before = expected


def test_a_sure_teacher_weighs_more():
    student, committee, batch = drawn(0)
    teacher = Outputs(committee.logits[0])
    found = gradient(confidence_weighted, student, teacher, batch)
    kept = batch.labels != IGNORED
    sure = teacher.logits[kept].softmax(-1).amax(-1)
    slopes = student.logits[kept].softmax(-1) - F.one_hot(batch.labels[kept], 4)
    torch.testing.assert_close(found[kept], (sure / sure.sum()).unsqueeze(1) * slopes)
    assert not found[-1].any()


@given(seeds)
def test_a_teacher_that_is_as_sure_everywhere_leaves_the_labels(seed):
    student, _, batch = drawn(seed)
    teacher = Outputs(torch.eye(4, dtype=torch.float64)[torch.arange(5) % 4])
    torch.testing.assert_close(
        confidence_weighted(student, teacher, batch, 0.0),
        F.cross_entropy(student.logits, batch.labels),
    )


@given(seeds)
def test_permuted_the_largest_stays_and_no_value_is_lost(seed):
    torch.manual_seed(seed)
    logits = torch.randn(6, 5)
    found = permuted(logits)
    assert torch.equal(found.sort(-1).values, logits.sort(-1).values)
    assert torch.equal(found.argmax(-1), logits.argmax(-1))
    assert torch.equal(found.amax(-1), logits.amax(-1))


def test_every_order_of_the_others_is_as_likely():
    torch.manual_seed(0)
    draws = 4000
    found = permuted(torch.tensor([1.0, 9.0, 2.0, 3.0]).expand(draws, 4))
    for place in (0, 2, 3):
        for value in (1.0, 2.0, 3.0):
            share = (found[:, place] == value).float().mean().item()
            assert abs(share - 1 / 3) < 5 * math.sqrt(2 / 9 / draws)  # five deviations


def test_permuted_targets_are_learnt_as_they_are():
    student, committee, batch = drawn(1)
    teacher = Outputs(committee.logits[0])
    torch.manual_seed(7)
    found = gradient(dark_knowledge_permuted, student, teacher, batch)
    torch.manual_seed(7)
    kept = batch.labels != IGNORED
    targets = permuted(teacher.logits[kept]).softmax(-1)
    expected = (student.logits[kept].softmax(-1) - targets) / kept.sum()
    torch.testing.assert_close(found[kept], expected)
    assert not found[-1].any()


def problem(seed: int, rows: int = 7, outputs: int = 2):
    generator = torch.Generator().manual_seed(seed)
    places = torch.randn(rows, 3, generator=generator, dtype=torch.float64)
    kernel = (-torch.cdist(places, places).square() / 2).exp()
    return kernel, torch.randn(rows, outputs, generator=generator, dtype=torch.float64)


@given(seeds, st.lists(st.floats(1e-2, 10), min_size=1, max_size=5))
def test_rounds_of_ridge_regression_are_the_closed_form(seed, ridges):
    kernel, targets = problem(seed)
    taught = targets
    for ridge in ridges:
        coefficients = torch.linalg.solve(kernel + ridge * torch.eye(7).double(), taught)
        taught = kernel @ coefficients
    found = spectrum(kernel)
    torch.testing.assert_close(answers(found, targets, ridges), taught, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(
        dual_coefficients(found, targets, ridges), coefficients, rtol=1e-7, atol=1e-8
    )


@given(seeds, st.floats(1e-2, 10), st.integers(1, 6))
def test_with_one_ridge_a_coefficient_shrinks_by_a_power(seed, ridge, rounds):
    kernel, targets = problem(seed)
    found = spectrum(kernel)
    d, v = torch.linalg.eigh(kernel)
    expected = (d / (d + ridge)) ** rounds
    torch.testing.assert_close(shrinkage(found.values, [ridge] * rounds), expected)
    coefficients = v.T @ answers(found, targets, [ridge] * rounds)
    torch.testing.assert_close(coefficients, expected.unsqueeze(1) * (v.T @ targets))


@given(seeds, st.floats(1e-2, 10))
def test_each_round_is_the_minimum_of_its_own_problem(seed, ridge):
    """By descent on the problem itself, with neither eigenvalues nor a solver."""
    kernel, targets = problem(seed, rows=4, outputs=1)
    a = dual_coefficients(spectrum(kernel), targets, [ridge, ridge]).requires_grad_(True)
    taught = answers(spectrum(kernel), targets, [ridge])
    loss = (kernel @ a - taught).square().sum() + ridge * (a * (kernel @ a)).sum()
    (slope,) = torch.autograd.grad(loss, a)
    assert slope.abs().max() < 1e-9


@given(seeds, st.floats(1e-2, 10))
def test_rounds_leave_ever_fewer_directions(seed, ridge):
    kernel, _ = problem(seed)
    values = spectrum(kernel).values
    assume(values[0] > 1e-6)
    before = torch.ones(6).double()
    for rounds in range(1, 5):
        left = shrinkage(values, [ridge] * rounds)
        ratios = left[:-1] / left[1:]
        assert (ratios <= before + 1e-12).all()
        before = ratios


@given(seeds, st.floats(0.05, 0.5))
def test_every_round_has_the_training_error_that_is_asked_for(seed, error):
    kernel, targets = problem(seed)
    found = spectrum(kernel)
    ridges = ridges_for_error(found, targets, error, 4)
    taught = targets
    for t in range(len(ridges)):
        answer = answers(found, targets, ridges[: t + 1])
        assert (answer - taught).square().sum().item() / 7 == pytest.approx(error, rel=1e-6)
        taught = answer
    if len(ridges) < 4:
        assert taught.square().sum() <= 7 * error


@given(seeds, st.floats(1e-3, 0.1))
def test_there_are_as_many_rounds_as_the_bound_says(seed, error):
    generator = torch.Generator().manual_seed(seed)
    v = torch.linalg.qr(torch.randn(6, 6, generator=generator).double()).Q
    d = 1 + torch.rand(6, generator=generator).double()
    targets = torch.randn(6, 1, generator=generator).double()
    norm = targets.norm().item() / math.sqrt(6 * error)
    assume(norm > 1)
    bound = math.floor((norm - 1) * (d.min() / d.max()).item())
    found = spectrum(v @ d.diag() @ v.T)
    assert len(ridges_for_error(found, targets, error, bound + 1)) >= bound


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: generations(born, 0, SOFT, epoch, CONFIG), "at least 1 generation .* got 0"),
        (lambda: generations(lambda _: MODEL, 1, SOFT, epoch, CONFIG), "must be distinct"),
        (
            lambda: confidence_weighted(Outputs(torch.zeros(8, 3)), None, batches()[0], 0.0),
            "need a teacher",
        ),
        (lambda: spectrum(torch.tensor([[1.0, 2.0], [0.0, 1.0]])), "symmetric"),
        (lambda: spectrum(torch.tensor([[1.0, 2.0], [2.0, 1.0]])), "no eigenvalue below 0"),
        (lambda: shrinkage(torch.ones(2), [0.0]), "above 0, got"),
        (lambda: dual_coefficients(spectrum(torch.eye(2)), torch.ones(2, 1), []), "no ridges"),
        (lambda: ridge_for_error(spectrum(torch.eye(2)), torch.ones(2, 1), 0.0), "above 0, got 0"),
        (
            lambda: ridge_for_error(
                spectrum(torch.diag(torch.tensor([1.0, 0.0]))), torch.ones(2, 1), 0.2
            ),
            "gets down to 0.5, not to 0.2",
        ),
        (lambda: ridges_for_error(spectrum(torch.eye(2)), torch.ones(2, 1), 0.1, 0), "got 0"),
    ],
)
def test_what_cannot_be_born_again_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()


MODEL = net()
