"""Claims about label smoothing and virtual teachers. 1e-12 is float64's over a dozen terms."""

import math

import pytest
import torch
import torch.nn.functional as F
from answers import batch, gradient, labels, logits, padded_labels
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reference.distillation.outputs import IGNORED, Outputs
from reference.distillation.response.mixing import HardAndSoft
from reference.distillation.response.smoothing import (
    LabelSmoothing,
    TeacherFree,
    virtual_teacher,
)
from reference.distillation.response.soft_labels import soft_divergence

SEED = st.integers(0, 999)
SMOOTHING = st.floats(0.01, 0.9)


def smoothed(z: Tensor, wanted: Tensor, smoothing: float) -> Tensor:
    return LabelSmoothing(smoothing)(Outputs(z), None, batch(wanted), 0.0)


@given(SEED, SMOOTHING, st.integers(2, 8))
def test_smoothing_is_the_divergence_from_a_mixture_with_the_uniform_law(seed, e, classes):
    z, wanted = logits(seed, 5, classes), labels(seed, classes, 5)
    mixture = (1 - e) * F.one_hot(wanted, classes).double() + e / classes
    entropy = -(mixture * mixture.log()).sum(-1).mean()
    found = smoothed(z, wanted, e)
    expected = soft_divergence(z, mixture.log()) + entropy
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@given(SEED, SMOOTHING, st.integers(2, 8))
def test_smoothing_is_distillation_from_a_teacher_that_knows_nothing(seed, e, classes):
    z, wanted = logits(seed, 5, classes), labels(seed, classes, 5)
    ignorant = Outputs(torch.full((5, classes), 3.0).double())

    def distilled(x):
        return HardAndSoft(e, 1.0)(Outputs(x), ignorant, batch(wanted), 0.0)

    found = smoothed(z, wanted, e) - distilled(z)
    torch.testing.assert_close(found.item(), e * math.log(classes), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        gradient(lambda x: smoothed(x, wanted, e), z), gradient(distilled, z), rtol=0, atol=1e-12
    )


def test_no_smoothing_is_plain_training_bit_for_bit():
    z, wanted = logits(0, 5, 4), labels(0, 4, 5)
    assert torch.equal(smoothed(z, wanted, 0.0), F.cross_entropy(z, wanted))


def test_padding_contributes_nothing():
    wanted, z = padded_labels(0, 5), logits(0, 3, 6, 5)
    kept = wanted != IGNORED
    whole, short = smoothed(z, wanted, 0.2), smoothed(z[kept], wanted[kept], 0.2)
    torch.testing.assert_close(whole, short, rtol=1e-12, atol=0)
    objective = TeacherFree()
    whole = objective(Outputs(z), None, batch(wanted), 0.0)
    short = objective(Outputs(z[kept]), None, batch(wanted[kept]), 0.0)
    torch.testing.assert_close(whole, short, rtol=1e-12, atol=0)


@given(SEED, st.integers(2, 8), st.floats(0.6, 0.99))
def test_a_virtual_teacher_is_right_as_often_as_it_says(seed, classes, correct):
    wanted = labels(seed, classes, 2, 3)
    said = virtual_teacher(wanted, classes, correct).double().softmax(-1)
    right = said.gather(-1, wanted[..., None])[..., 0]
    torch.testing.assert_close(right, torch.full((2, 3), correct).double(), rtol=1e-6, atol=1e-6)
    others = said[~F.one_hot(wanted, classes).bool()]
    torch.testing.assert_close(others.min(), others.max())


@given(SEED, SMOOTHING, st.integers(2, 8))
def test_smoothing_is_a_virtual_teacher_alone(seed, e, classes):
    z, wanted = logits(seed, 5, classes), labels(seed, classes, 5)
    correct = 1 - e + e / classes
    objective = TeacherFree(correct, 1.0, 1.0)
    found = gradient(lambda x: objective(Outputs(x), None, batch(wanted), 0.0), z)
    expected = gradient(lambda x: smoothed(x, wanted, e), z)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # its logits are float32


def test_no_teacher_is_asked():
    z, wanted = logits(0, 5, 4), labels(0, 4, 5)
    for objective in (LabelSmoothing(), TeacherFree()):
        alone = objective(Outputs(z), None, batch(wanted), 0.0)
        beside = objective(Outputs(z), Outputs(logits(1, 5, 4)), batch(wanted), 0.0)
        assert torch.equal(alone, beside)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: LabelSmoothing(1.0), "below 1, got 1.0"),
        (lambda: LabelSmoothing(-0.1), "at least 0 and below 1, got -0.1"),
        (lambda: virtual_teacher(labels(0, 4, 3), 4, 0.25), "between 0.25 and 1, got 0.25"),
        (lambda: virtual_teacher(labels(0, 4, 3), 4, 1.0), "and 1, got 1.0"),
        (lambda: virtual_teacher(labels(0, 1, 3), 1, 0.9), "at least two classes, got 1"),
        (lambda: smoothed(logits(0, 3, 4), labels(0, 4, 2), 0.1), "need one label"),
        (lambda: smoothed(logits(0, 1, 4), torch.tensor([IGNORED]), 0.1), "other than -100"),
    ],
)
def test_what_is_no_smoothing_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
