"""Claims about statistics measured anew. 1e-5 is float32's after a convolution or two."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reference.pruning.search.recalibration import recalibrated


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(),
        nn.Conv2d(5, 4, 3), nn.BatchNorm2d(4), nn.Flatten(1), nn.Dropout(0.5),
    )  # fmt: skip


def images(*sizes: int) -> list[torch.Tensor]:
    return [3 * torch.randn(size, 3, 8, 8) + torch.randn(1) for size in sizes]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
@settings(max_examples=20)
def test_the_first_norm_has_mean_and_variance_of_all_batches_together(sizes):
    model, batches = network(), images(*sizes)
    values = model[0](torch.cat(batches)).detach().movedim(1, -1).flatten(0, -2)
    norm = recalibrated(model, batches)[1]
    assert torch.allclose(norm.running_mean, values.mean(0), atol=1e-5)
    assert torch.allclose(norm.running_var, values.var(0), rtol=1e-5)


def test_deeper_norms_see_what_training_would_let_through():
    model, (batch,) = network(), images(16)
    with torch.no_grad():
        inside = model[:4].train()(batch).movedim(1, -1).flatten(0, -2)
    norm = recalibrated(model, [batch])[4]
    assert torch.allclose(norm.running_mean, inside.mean(0), atol=1e-5)
    assert torch.allclose(norm.running_var, inside.var(0), rtol=1e-5)


def test_after_it_one_batch_is_answered_in_eval_as_in_training():
    """Training divides by n and not by n - 1: 16 pictures of 36 and of 16 places."""
    model, (batch,) = network()[:6], images(16)
    found = recalibrated(model, [batch]).eval()
    for place, values in ((1, 16 * 36), (4, 16 * 16)):
        found[place].running_var *= (values - 1) / values
    with torch.no_grad():
        assert torch.allclose(found(batch), model.train()(batch), atol=1e-5)


def test_only_running_means_and_variances_change_and_only_in_the_copy():
    model, batches = network().train(), images(4, 4)
    model[3].eval()
    model(batches[0])
    before = copy.deepcopy(model.state_dict())
    found = recalibrated(model, batches)
    for name, tensor in found.state_dict().items():
        statistic = name.endswith(("running_mean", "running_var"))
        assert torch.equal(tensor, before[name]) is not statistic, name
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    assert [m.training for m in found.modules()] == [m.training for m in model.modules()]
    assert all(p.grad is None for p in found.parameters())


def test_old_statistics_and_dropout_do_not_matter():
    one, other = network(), None
    other = copy.deepcopy(one).train()
    for module in other.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.fill_(5.0)
            module.running_var.fill_(9.0)
    batches = images(4, 2)
    pairs = zip(recalibrated(one, batches).buffers(), recalibrated(other, batches).buffers(),
                strict=True)  # fmt: skip
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("model", "batches", "told"),
    [
        (nn.Linear(2, 2), [torch.ones(2, 2)], "0 batch norms and 1 batches"),
        (nn.BatchNorm1d(2, track_running_stats=False), [torch.ones(2, 2)], "0 batch norms"),
        (nn.BatchNorm1d(2), [], "1 batch norms and 0 batches"),
    ],
)
def test_nothing_to_measure_is_refused(model, batches, told):
    with pytest.raises(ValueError, match=told):
        recalibrated(model, batches)


def test_a_norm_that_is_not_reached_is_named():
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.BatchNorm1d(2), nn.BatchNorm1d(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    with pytest.raises(ValueError, match="'idle' saw 0 values"):
        recalibrated(Idle(), [torch.randn(4, 2)])
