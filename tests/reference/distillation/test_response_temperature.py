"""Claims about temperatures that are learnt for each example."""

import math

import pytest
import torch
from answers import batch, labels, logits
from small import epoch, net

from reference.distillation.loop import LoopConfig, distill_
from reference.distillation.outputs import Outputs
from reference.distillation.response.curriculum_temperature import CurriculumTemperature
from reference.distillation.response.mixing import HardAndSoft
from reference.distillation.response.soft_labels import soft_divergence

Z, V, Y = logits(0, 6, 4), logits(1, 6, 4), labels(0, 4, 6)


def objective(**settings) -> CurriculumTemperature:
    return CurriculumTemperature(4, **settings).double()


def gradients(learning: CurriculumTemperature, progress: float):
    z = Z.clone().requires_grad_()
    loss = learning(Outputs(z), Outputs(V), batch(Y), progress)
    return torch.autograd.grad(loss, [z, *learning.parameters()])


def test_temperatures_lie_in_their_range_and_differ():
    learning = objective(least=2.0, span=5.0)
    found = learning.temperatures(100 * Z, V)
    assert ((found > 2) & (found < 7)).all()
    assert found.std() > 1e-3
    with torch.no_grad():
        learning.network[2].bias.fill_(1e4)
    torch.testing.assert_close(learning.temperatures(Z, V), torch.full((6,), 7.0).double())


def test_the_value_is_that_of_soft_labels_at_these_temperatures():
    learning = objective(alpha=1.0)
    found = learning(Outputs(Z), Outputs(V), batch(Y), 0.5)
    torch.testing.assert_close(found, soft_divergence(Z, V, learning.temperatures(Z, V).detach()))


def test_the_student_goes_down_and_the_temperatures_go_up():
    learning = objective(alpha=1.0)
    turned = gradients(learning, 1.0)
    z = Z.clone().requires_grad_()
    straight = torch.autograd.grad(
        soft_divergence(z, V, learning.temperatures(z, V)), [z, *learning.parameters()]
    )
    torch.testing.assert_close(turned[0], straight[0])
    assert any(each.abs().max() > 1e-6 for each in straight[1:])
    for up, down in zip(turned[1:], straight[1:], strict=True):
        torch.testing.assert_close(up, -down)


def test_the_turned_gradient_rises_from_nothing():
    learning = objective(ramp=0.5)
    whole = gradients(learning, 1.0)
    assert [learning.strength(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0, 1, 1])
    assert learning.strength(0.25) == pytest.approx(0.5)
    for progress, share in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0)):
        found = gradients(learning, progress)
        torch.testing.assert_close(found[0], whole[0])
        for each, full in zip(found[1:], whole[1:], strict=True):
            torch.testing.assert_close(each, share * full)


def test_training_raises_what_a_still_student_loses():
    learning = CurriculumTemperature(3, alpha=1.0)
    student, teacher = net(), net(32, seed=1)
    with torch.no_grad():
        teacher[3].weight *= 200  # far from the limit in which T^2 KL is the same for every T
    for parameter in student.parameters():
        parameter.requires_grad_(False)
    losses = distill_(student, teacher, learning, epoch, LoopConfig(60, learning_rate=0.05))
    assert sum(losses[-8:]) > 1.05 * sum(losses[:8])


def test_of_one_temperature_it_is_hard_and_soft():
    learning = objective(alpha=0.7, least=3.0, span=1e-9)
    found = learning(Outputs(Z), Outputs(V), batch(Y), 0.5)
    expected = HardAndSoft(0.7, 3.0)(Outputs(Z), Outputs(V), batch(Y), 0.5)
    torch.testing.assert_close(found, expected)


def test_excluded_classes_do_not_make_nan():
    v = V.clone()
    v[:, 1] = -math.inf
    z = Z.clone().requires_grad_()
    objective()(Outputs(z), Outputs(v), batch(Y), 0.5).backward()
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"alpha": 2.0}, "alpha must be within 0 and 1, got 2.0"),
        ({"least": 0.0}, "least 0.0"),
        ({"span": -1.0}, "span -1.0"),
        ({"ramp": 0.0}, "share of the progress, got 0.0"),
    ],
)
def test_what_is_no_temperature_is_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        objective(**settings)
