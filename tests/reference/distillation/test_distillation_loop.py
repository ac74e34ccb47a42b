import pytest
import torch
import torch.nn.functional as F
from small import batches, epoch, net
from torch import nn

from reference.distillation.loop import LoopConfig, Taps, distill_
from reference.distillation.outputs import observe, taught


def plain(student, teacher, batch, progress):
    return F.cross_entropy(student.logits, batch.labels)


def matching(student, teacher, batch, progress):
    return F.mse_loss(student.logits, teacher.logits)


def same(one: nn.Module, other: nn.Module) -> bool:
    there = other.state_dict()
    return all(torch.equal(each, there[name]) for name, each in one.state_dict().items())


class Regressed(nn.Module):
    def __init__(self):
        super().__init__()
        self.regressor = nn.Linear(8, 16)

    def forward(self, student, teacher, batch, progress):
        return F.mse_loss(self.regressor(student.features["1"]), teacher.features["1"])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_lowers_the_loss(optimizer):
    config = LoopConfig(60, learning_rate=0.05, optimizer=optimizer)
    losses = distill_(net(), None, plain, epoch, config)
    assert sum(losses[-8:]) < 0.5 * sum(losses[:8])


def test_a_teacher_that_is_ignored_changes_no_bit():
    alone, accompanied = net(dropout=0.5), net(dropout=0.5)
    config = LoopConfig(10)
    distill_(alone, None, plain, epoch, config)
    distill_(accompanied, net(seed=1, dropout=0.5), plain, epoch, config)
    assert same(alone, accompanied)


def test_a_teacher_is_in_eval_without_graph_and_left_as_it_was():
    teacher = net(seed=1, dropout=0.5)
    before = {name: each.clone() for name, each in teacher.state_dict().items()}

    def watched(student, said, batch, progress):
        assert not said.logits.requires_grad
        modes.append(teacher.training)
        again = taught(teacher, batch.inputs)
        assert torch.equal(again.logits, said.logits)  # no dropout: twice the same
        return matching(student, said, batch, progress)

    modes: list[bool] = []
    distill_(net(), teacher, watched, epoch, LoopConfig(5))
    assert modes == [True] * 5
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(each, before[name]) for name, each in teacher.state_dict().items())


def test_the_callers_random_state_is_left_alone():
    state = torch.random.get_rng_state()
    distill_(net(dropout=0.5), None, plain, epoch, LoopConfig(3))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_an_objective_trains_stays_out_of_the_student():
    student, objective = net(), Regressed()
    before = objective.regressor.weight.detach().clone()
    names = list(student.state_dict())
    distill_(student, net(16, seed=1), objective, epoch, LoopConfig(3), Taps(["1"], ["1"]))
    assert not torch.equal(objective.regressor.weight, before)
    assert list(student.state_dict()) == names
    assert not any(module._forward_hooks for module in student.modules())


def test_progress_runs_from_0_to_1():
    seen: list[float] = []

    def watched(student, teacher, batch, progress):
        seen.append(progress)
        return plain(student, teacher, batch, progress)

    distill_(net(), None, watched, epoch, LoopConfig(5))
    assert seen == [0, 0.25, 0.5, 0.75, 1]


def test_hooks_are_gone_even_when_a_model_fails():
    model = net()
    with pytest.raises(RuntimeError):
        observe(model, torch.zeros(2, 99), ["0"])
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: LoopConfig(0), "steps must be at least 1, got 0"),
        (lambda: LoopConfig(1, warmup=1.0), "below 1, got 1.0"),
        (lambda: observe(net(), batches()[0].inputs, ["9"]), "no module '9' in Sequential"),
        (lambda: distill_(net(), None, plain, lambda _: [], LoopConfig(1)), "at least one batch"),
        (
            lambda: distill_(
                net(), None, lambda s, t, b, p: s.logits.sum() / 0, epoch, LoopConfig(1)
            ),
            "at step 0",
        ),
    ],
)
def test_what_cannot_train_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
