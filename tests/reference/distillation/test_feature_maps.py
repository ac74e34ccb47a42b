"""Claims about losses of maps, one after the other. 1e-12 is float64's over short sums."""

import math

import pytest
import torch
import torch.nn.functional as F
from features import conv_net, image_epoch, rows
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reference.distillation.feature import neuron_selectivity
from reference.distillation.feature.attention_transfer import attention, attention_transfer
from reference.distillation.feature.boundaries import boundary_loss
from reference.distillation.feature.factor_transfer import (
    FactorTransfer,
    Paraphraser,
    Reconstruction,
    Translator,
    factor_loss,
    train_paraphraser_,
)
from reference.distillation.feature.flow import FlowLoss, flow, flow_loss
from reference.distillation.feature.hints import hint_loss
from reference.distillation.feature.neuron_selectivity import selectivity_transfer
from reference.distillation.feature.overhaul import margins, partial_loss
from reference.distillation.feature.variational import Variational, negative_log_likelihood
from reference.distillation.loop import LoopConfig, Taps
from reference.distillation.outputs import Batch, Outputs

SEED = st.integers(0, 999)
SCALE = st.floats(0.01, 100)
NO_BATCH = Batch(torch.zeros(1), torch.zeros(1, dtype=torch.long))


def close(one: torch.Tensor, other: torch.Tensor, tolerance: float = 1e-12) -> bool:
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance)


def maps(*values: list[list[float]]) -> torch.Tensor:
    """One row, one channel for each list of lists."""
    return torch.tensor([values], dtype=torch.float64)


def test_a_hint_costs_the_mean_of_squares_by_hand():
    assert hint_loss(maps([[1.0, 2.0]]), maps([[3.0, 2.0]])).item() == 2
    halved = hint_loss(maps([[1.0, 3.0], [5.0, 7.0]]), maps([[2.0]]))
    assert halved.item() == 4  # the larger map is averaged: (4 - 2)^2


def test_attention_by_hand():
    two = maps([[3.0, 0.0]], [[0.0, 4.0]])
    assert close(attention(two, 1.0), torch.tensor([[0.6, 0.8]], dtype=torch.float64))
    expected = torch.tensor([[9.0, 16.0]], dtype=torch.float64) / math.hypot(9, 16)
    assert close(attention(two), expected)
    elsewhere = attention_transfer(maps([[1.0, 0.0]]), maps([[0.0, 5.0]]))
    assert elsewhere.item() == pytest.approx(math.sqrt(2))
    assert attention_transfer(two, 3 * two, 1.0).item() == pytest.approx(0, abs=1e-12)


@given(SEED, SCALE, st.floats(1, 4))
def test_attention_does_not_know_channels_signs_or_the_scale_of_a_row(seed, scale, power):
    student, teacher = rows(seed, 3, 4, 2, 3), rows(seed + 1, 3, 5, 2, 3)
    expected = attention_transfer(student, teacher, power)
    signs = rows(seed + 2, 4).sign().reshape(4, 1, 1)
    scales = torch.tensor([scale, 1, 7], dtype=torch.float64).reshape(3, 1, 1, 1)
    changed = student[:, torch.tensor([2, 0, 3, 1])] * signs * scales
    assert close(attention_transfer(changed, teacher, power), expected, 1e-9)
    assert 0 <= expected <= math.sqrt(2)


def test_attention_knows_places():
    student = rows(0, 3, 4, 2, 3)
    assert attention_transfer(student.flip(3), student) > 0.1


def test_a_power_below_1_is_refused():
    with pytest.raises(ValueError, match=r"at least 1, got 0\.5"):
        attention(rows(0, 1, 1, 2, 2), 0.5)


def test_a_flow_by_hand():
    lower, higher = maps([[1.0, 2.0]], [[3.0, 4.0]]), maps([[5.0, 6.0]])
    expected = [[[(1 * 5 + 2 * 6) / 2], [(3 * 5 + 4 * 6) / 2]]]
    assert flow(lower, higher).tolist() == expected
    assert flow_loss(flow(lower, higher), torch.zeros(1, 2, 1)).item() == 8.5**2 + 19.5**2
    pooled = flow(maps([[1.0, 2.0], [3.0, -4.0]]), maps([[2.0]]))
    assert pooled.tolist() == [[[6.0]]]  # the maximum of the larger map


@given(SEED)
def test_a_flow_does_not_know_the_order_of_places_if_it_is_that_of_both(seed):
    lower, higher = rows(seed, 2, 3, 2, 3), rows(seed + 1, 2, 4, 2, 3)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    moved = [each.flatten(2)[:, :, order].unflatten(2, (2, 3)) for each in (lower, higher)]
    assert close(flow(*moved), flow(lower, higher))
    assert close(flow(lower, higher).mT, flow(higher, lower))
    assert close(flow(3 * lower, higher), 3 * flow(lower, higher))


def test_flows_of_other_widths_are_compared_after_regressors():
    taps = Taps(["low", "high"], ["low", "high"])
    student = Outputs(torch.zeros(1), {"low": rows(0, 2, 3, 4, 4), "high": rows(1, 2, 4, 2, 2)})
    teacher = Outputs(torch.zeros(1), {"low": rows(2, 2, 5, 8, 8), "high": rows(3, 2, 6, 4, 4)})
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(5, 6\); regressors make them so"):
        FlowLoss(taps)(student, teacher, NO_BATCH, 0.0)
    regressors = nn.Conv2d(3, 5, 1).double(), nn.Conv2d(4, 6, 1).double()
    objective = FlowLoss(taps, regressors)
    objective(student, teacher, NO_BATCH, 0.0).backward()
    assert all(each.grad is not None for each in objective.parameters())
    low, high = (r(student.features[n]) for r, n in zip(regressors, ("low", "high"), strict=True))
    expected = flow_loss(flow(low, high), flow(*teacher.features.values()))
    assert close(objective(student, teacher, NO_BATCH, 0.0), expected)
    with pytest.raises(ValueError, match="two taps of student and teacher, got 1 and 2"):
        FlowLoss(Taps(["low"], ["low", "high"]))


@given(SEED)
def test_a_linear_kernel_compares_mean_channels(seed):
    student, teacher = rows(seed, 3, 4, 2, 3), rows(seed + 1, 3, 6, 2, 3)
    means = [F.normalize(each.flatten(2), dim=2).mean(1) for each in (student, teacher)]
    expected = (means[0] - means[1]).square().sum(1).mean()
    got = selectivity_transfer(student, teacher, neuron_selectivity.linear)
    assert close(got, expected, 1e-11)


@given(SEED)
def test_a_polynomial_kernel_compares_which_places_are_active_together(seed):
    student, teacher = rows(seed, 3, 4, 2, 3), rows(seed + 1, 3, 6, 2, 3)
    grams = []
    for each in (student, teacher):
        channels = F.normalize(each.flatten(2), dim=2)
        grams.append(channels.mT @ channels / channels.shape[1])  # mean of x x'
    expected = (grams[0] - grams[1]).square().sum((1, 2)).mean()
    assert close(selectivity_transfer(student, teacher), expected, 1e-11)


KERNELS = [neuron_selectivity.linear, neuron_selectivity.polynomial, neuron_selectivity.gaussian]


@pytest.mark.parametrize("kernel", KERNELS)
@given(SEED)
def test_a_discrepancy_is_not_negative_and_knows_no_order_or_repetition_of_channels(kernel, seed):
    student, teacher = rows(seed, 3, 4, 2, 3), rows(seed + 1, 3, 6, 2, 3)
    expected = selectivity_transfer(student, teacher, kernel)
    assert expected > -1e-12
    order = torch.tensor([2, 0, 3, 1])
    assert close(selectivity_transfer(student[:, order], teacher, kernel), expected, 1e-11)
    twice = student.repeat(1, 2, 1, 1)
    assert close(selectivity_transfer(twice, teacher, kernel), expected, 1e-11)
    lengths = torch.tensor([1.0, 3.0, 0.2, 9.0], dtype=torch.float64).reshape(4, 1, 1)
    assert close(selectivity_transfer(student * lengths, teacher, kernel), expected, 1e-11)


def test_only_higher_kernels_tell_distributions_of_one_mean_apart():
    turned, still = maps([[1.0, 0.0]], [[-1.0, 0.0]]), maps([[0.0, 1.0]], [[0.0, -1.0]])
    linear, *higher = (selectivity_transfer(turned, still, kernel).item() for kernel in KERNELS)
    assert linear == 0
    assert higher[0] == 2  # |diag(1, 0) - diag(0, 1)|^2
    # v: pairs at squared distance 4, so k is 1 or exp(-1/2) in one, exp(-1/4) between both
    expected = 1 + math.exp(-0.5) - 2 * math.exp(-0.25)
    assert higher[1] == pytest.approx(expected)


def test_channels_that_are_all_alike_have_a_width_of_1():
    alike, across = maps([[1.0, 0.0]], [[2.0, 0.0]]), maps([[0.0, 1.0]])
    expected = 2 - 2 * math.exp(-2 / 2)  # at a squared distance of 2
    for teacher in (alike, alike[:, :1]):
        got = selectivity_transfer(across, teacher, neuron_selectivity.gaussian)
        assert got.item() == pytest.approx(expected)


def test_factors_by_hand():
    student, teacher = maps([[3.0, 4.0]]), maps([[1.0, 0.0]])
    assert factor_loss(student, teacher).item() == pytest.approx(0.4 + 0.8)
    assert factor_loss(student, teacher, 2).item() == pytest.approx(0.16 + 0.64)


@given(SEED, SCALE)
def test_factors_do_not_know_the_scale_of_a_row(seed, scale):
    student, teacher = rows(seed, 3, 4, 2, 3), rows(seed + 1, 3, 4, 2, 3)
    assert close(factor_loss(scale * student, teacher), factor_loss(student, teacher), 1e-9)


def test_a_paraphraser_learns_to_say_again_what_the_teacher_said():
    teacher, paraphraser = conv_net(6, seed=1), Paraphraser(6, 4)
    before = {name: each.clone() for name, each in teacher.state_dict().items()}
    config = LoopConfig(60, learning_rate=0.01)
    losses = train_paraphraser_(paraphraser, teacher, "2", image_epoch, config)
    assert sum(losses[-8:]) < 0.7 * sum(losses[:8])
    assert all(torch.equal(each, before[name]) for name, each in teacher.state_dict().items())


def test_transfer_trains_the_translator_and_never_the_paraphraser():
    student, teacher = rows(0, 2, 3, 4, 4).float(), rows(1, 2, 6, 4, 4).float()
    paraphraser, translator = Paraphraser(6, 4), Translator(3, 4)
    transfer = FactorTransfer(paraphraser, translator)
    assert list(map(id, transfer.parameters())) == list(map(id, translator.parameters()))
    transfer(student, teacher).backward()
    assert all(each.grad is not None for each in translator.parameters())
    assert all(each.grad is None for each in paraphraser.parameters())
    expected = factor_loss(translator(student), paraphraser.encode(teacher))
    assert close(transfer(student, teacher), expected, 1e-6)  # of float32
    with pytest.raises(ValueError, match="1 or 2, got 3"):
        FactorTransfer(paraphraser, translator, 3)


def test_jointly_a_paraphraser_has_the_gradient_of_its_reconstruction_alone():
    teacher = Outputs(torch.zeros(1), {"maps": rows(1, 2, 6, 4, 4).float()})
    gradients = []
    for joint in (False, True):
        torch.manual_seed(0)
        paraphraser, translator = Paraphraser(6, 4), Translator(3, 4)
        loss = Reconstruction(paraphraser, "maps")(teacher, teacher, NO_BATCH, 0.0)
        if joint:
            student = rows(0, 2, 3, 4, 4).float()
            loss = loss + FactorTransfer(paraphraser, translator)(student, teacher.features["maps"])
        loss.backward()
        gradients.append([each.grad for each in paraphraser.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@given(SEED)
def test_vid_is_the_negative_log_likelihood_of_a_gaussian(seed):
    mean, target = rows(seed, 3, 4, 2, 3), rows(seed + 1, 3, 4, 2, 3)
    variance = rows(seed + 2, 4).exp().reshape(4, 1, 1)
    law = torch.distributions.Normal(mean, variance.sqrt())
    expected = -law.log_prob(target).mean() - math.log(2 * math.pi) / 2
    assert close(negative_log_likelihood(mean, target, variance), expected)
    library = F.gaussian_nll_loss(mean, target, variance.expand_as(mean))
    assert close(negative_log_likelihood(mean, target, variance), library)


@given(SEED)
def test_at_a_variance_of_1_vid_is_half_the_hint_loss(seed):
    mean, target = rows(seed, 3, 4, 2, 3), rows(seed + 1, 3, 4, 2, 3)
    one = torch.ones(1, dtype=torch.float64)
    assert close(negative_log_likelihood(mean, target, one), hint_loss(mean, target) / 2)


def test_the_best_variance_of_a_channel_is_its_mean_squared_error():
    mean, target = rows(0, 64, 2), rows(1, 64, 2) * torch.tensor([0.1, 3.0], dtype=torch.float64)
    loss = Variational(nn.Identity(), channels=2).double()
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        loss(mean, target).backward()
        optimizer.step()
    assert close(loss.variance(), (mean - target).square().mean(0), 1e-3)  # of 400 steps


def test_variances_begin_where_they_are_said_to_and_bad_ones_are_refused():
    loss = Variational(nn.Identity(), 3, variance=2.0)
    assert close(loss.variance(), torch.full((3,), 2.0), 1e-6)  # of float32
    with pytest.raises(ValueError, match=r"variance > floor > 0, got 1e-06 and 1e-05"):
        Variational(nn.Identity(), 3, variance=1e-6)
    with pytest.raises(ValueError, match="4 channels and 3 variances"):
        loss(torch.zeros(2, 4), torch.zeros(2, 4))


def test_a_channel_of_large_variance_pulls_less():
    student = torch.zeros(2, 2, 3, 3, requires_grad=True)
    loss = Variational(nn.Identity(), 2)
    with torch.no_grad():
        loss.raw_variance.copy_(torch.tensor([0.0, 5.0]))
    loss(student, torch.ones(2, 2, 3, 3)).backward()
    small, large = student.grad[0, :, 0, 0]
    expected = loss.variance()[1] / loss.variance()[0]
    assert (small / large).item() == pytest.approx(expected.item(), rel=1e-5)  # of float32


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [(2.0, 0.1, 0.0), (0.5, 9.0, 0.25), (-2.0, 1.0, 9.0), (-2.0, -0.1, 0.0), (0.5, 0.0, 2.25)],
)
def test_boundaries_by_hand(student, teacher, expected):
    assert boundary_loss(maps([[student]]), maps([[teacher]])).item() == expected


@given(SEED, SCALE)
def test_boundaries_ask_only_for_the_side_of_the_teacher(seed, scale):
    student, teacher = rows(seed, 3, 4, 2, 3), rows(seed + 1, 3, 4, 2, 3)
    assert close(boundary_loss(student, scale * teacher), boundary_loss(student, teacher))
    assert boundary_loss(teacher.sign() * (1 + student.abs()), teacher) == 0
    with pytest.raises(ValueError, match="at least 0, got -1"):
        boundary_loss(student, teacher, -1.0)


@pytest.mark.parametrize(
    ("student", "expected"),
    [(2.0, 9.0), (0.0, 1.0), (-1.0, 0.0), (-5.0, 0.0)],  # around a target of -1
)
def test_below_a_target_that_is_not_positive_there_is_nothing_to_learn(student, expected):
    margin = torch.tensor([-1.0], dtype=torch.float64)
    assert partial_loss(maps([[student]]), maps([[-4.0]]), margin).item() == expected


def test_above_zero_overhaul_is_the_hint_loss():
    student, teacher = rows(0, 3, 4, 2, 3), rows(1, 3, 4, 2, 3).abs()
    assert close(partial_loss(student, teacher, margins(teacher)), hint_loss(student, teacher))


def test_margins_are_means_of_what_is_negative():
    features = maps([[1.0, -2.0, -4.0]], [[1.0, 2.0, 3.0]])
    assert margins(features).tolist() == [-3.0, 0.0]
    drawn = torch.randn(4000, 1, 10, generator=torch.Generator().manual_seed(0))
    # E[x | x < 0] of a standard normal; 0.02 is 5 standard errors of 20000 draws
    assert margins(drawn).item() == pytest.approx(-math.sqrt(2 / math.pi), abs=0.02)
    with pytest.raises(ValueError, match="2 channels need a margin each, got 1"):
        partial_loss(features, features, torch.zeros(1, dtype=torch.float64))
