"""Claims about all losses of two features. 1e-9 is float64's over sums of some hundred terms.

Finite differences in float64 with steps of 1e-6 leave errors of about 1e-9 in a first derivative.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from features import rows
from torch.autograd import gradcheck

from reference.distillation.feature import correlation, neuron_selectivity
from reference.distillation.feature.attention_transfer import attention_transfer
from reference.distillation.feature.boundaries import boundary_loss
from reference.distillation.feature.contrastive import info_nce, nce
from reference.distillation.feature.correlation import correlation_congruence
from reference.distillation.feature.factor_transfer import factor_loss
from reference.distillation.feature.flow import flow, flow_loss
from reference.distillation.feature.hints import hint_loss
from reference.distillation.feature.neuron_selectivity import selectivity_transfer
from reference.distillation.feature.overhaul import margins, partial_loss
from reference.distillation.feature.probabilistic import knowledge_transfer
from reference.distillation.feature.relational import angle_loss, distance_loss
from reference.distillation.feature.similarity import similarity_preserving
from reference.distillation.feature.variational import negative_log_likelihood


class Case(NamedTuple):
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    fewest_rows: int = 1
    wide: bool = False  # teachers of other widths, without a regressor
    zero_when_equal: bool = True
    sized: bool = True  # other heights and widths


def flows(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return flow_loss(flow(student, student.tanh()), flow(teacher, teacher.tanh()))


def overhauled(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return partial_loss(student, teacher, margins(teacher))


def gaussian(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return negative_log_likelihood(student, teacher, torch.full((1,), 2.0, dtype=torch.float64))


CASES = {
    "hints": Case(hint_loss),
    "attention": Case(attention_transfer, wide=True),
    "flow": Case(flows),
    "nst linear": Case(partial(selectivity_transfer, kernel=neuron_selectivity.linear), wide=True),
    "nst polynomial": Case(selectivity_transfer, wide=True),
    "nst gaussian": Case(
        partial(selectivity_transfer, kernel=neuron_selectivity.gaussian), wide=True
    ),
    "factors": Case(factor_loss),
    "factors squared": Case(partial(factor_loss, power=2)),
    "vid": Case(gaussian, zero_when_equal=False, sized=False),
    "pkt": Case(knowledge_transfer, 2, wide=True),
    "sp": Case(similarity_preserving, 2, wide=True),
    "cc bilinear": Case(partial(correlation_congruence, kernel=correlation.bilinear), 2, wide=True),
    "cc gaussian": Case(partial(correlation_congruence, kernel=correlation.gaussian), 2, wide=True),
    "cc taylor": Case(correlation_congruence, 2, wide=True),
    "rkd distance": Case(distance_loss, 2, wide=True),
    "rkd angle": Case(angle_loss, 3, wide=True),
    "boundaries": Case(boundary_loss, zero_when_equal=False),
    "overhaul": Case(overhauled),
}
every = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
zero = pytest.mark.parametrize(
    "case", [pytest.param(c, id=n) for n, c in CASES.items() if c.zero_when_equal]
)
wide = pytest.mark.parametrize("case", [pytest.param(c, id=n) for n, c in CASES.items() if c.wide])
narrow = pytest.mark.parametrize(
    "case", [pytest.param(c, id=n) for n, c in CASES.items() if not c.wide and c.sized]
)


@zero
def test_equal_features_cost_nothing_and_others_something(case):
    one, other = rows(0, 5, 3, 4, 4), rows(1, 5, 3, 4, 4)
    assert case.loss(one, one).item() == pytest.approx(0, abs=1e-12)
    assert case.loss(other, one).item() > 1e-6


@zero
def test_at_equal_features_a_step_cannot_help(case):
    student = rows(0, 5, 3, 4, 4).requires_grad_()
    case.loss(student, student.detach().clone()).backward()
    assert student.grad.abs().max() < 1e-9


@every
def test_a_gradient_is_that_of_finite_differences(case):
    student, teacher = rows(2, 4, 3, 3, 3).requires_grad_(), rows(3, 4, 3, 3, 3)
    assert gradcheck(lambda s: case.loss(s, teacher), (student,), eps=1e-6, atol=1e-7, rtol=1e-5)


@every
def test_a_step_along_the_gradient_lowers_the_loss(case):
    student, teacher = rows(4, 6, 3, 4, 4).requires_grad_(), rows(5, 6, 3, 4, 4)
    loss = case.loss(student, teacher)
    (gradient,) = torch.autograd.grad(loss, student)
    assert case.loss(student - 1e-3 * gradient / gradient.norm(), teacher) < loss


@every
def test_no_gradient_is_nan_where_rows_coincide_or_are_zero(case):
    varied = rows(6, 5, 3, 4, 4)
    for constant in (varied[:1].repeat(5, 1, 1, 1), torch.zeros_like(varied)):
        for start, teacher in ((constant, varied), (varied, constant), (constant, constant)):
            student = start.clone().requires_grad_()
            case.loss(student, teacher).backward()
            # 1e12 where a length is only kept above 1e-12
            assert student.grad.abs().max() < 1e3


@every
def test_a_batch_that_is_too_small_is_refused_and_the_next_is_not(case):
    assert torch.isfinite(case.loss(*(rows(i, case.fewest_rows, 3, 4, 4) for i in range(2))))
    if case.fewest_rows > 1:
        few = case.fewest_rows - 1
        with pytest.raises(ValueError, match=f"at least {case.fewest_rows} rows, got {few}"):
            case.loss(rows(0, few, 3, 4, 4), rows(1, few, 3, 4, 4))


@wide
def test_widths_may_differ(case):
    student, teacher = rows(7, 5, 3, 4, 4).requires_grad_(), rows(8, 5, 6, 4, 4)
    case.loss(student, teacher).backward()
    assert student.grad.isfinite().all() and student.grad.any()


@narrow
def test_widths_that_need_a_regressor_are_refused(case):
    with pytest.raises(ValueError, match=r"regressors? makes? them so"):
        case.loss(rows(7, 5, 3, 4, 4), rows(8, 5, 6, 4, 4))


@pytest.mark.parametrize("case", [pytest.param(c, id=n) for n, c in CASES.items() if c.sized])
@pytest.mark.parametrize("size", [(2, 4), (8, 2)])
def test_sizes_of_maps_may_differ(case, size):
    student, teacher = rows(9, 5, 3, 4, 4).requires_grad_(), rows(10, 5, 3, *size)
    case.loss(student, teacher).backward()
    assert student.grad.isfinite().all() and student.grad.any()


@every
def test_inputs_are_left_alone_and_the_teacher_gets_no_gradient(case):
    student, teacher = rows(11, 5, 3, 4, 4).requires_grad_(), rows(12, 5, 3, 4, 4)
    before = student.detach().clone(), teacher.clone()
    case.loss(student, teacher).backward()
    assert torch.equal(student, before[0]) and torch.equal(teacher, before[1])
    assert not teacher.requires_grad


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=n) for n, c in CASES.items() if n not in ("flow", "vid")]
)
def test_other_numbers_of_rows_are_refused(case):
    with pytest.raises(ValueError, match="same rows"):
        case.loss(rows(0, 5, 3, 4, 4), rows(1, 4, 3, 4, 4))


def test_contrast_has_the_gradient_of_finite_differences():
    units = [torch.nn.functional.normalize(rows(i, 4, 3), dim=1) for i in range(2)]
    negatives = rows(3, 4, 5, 3), rows(4, 4, 5, 3)
    free = ~torch.eye(4, dtype=torch.bool)
    inputs = tuple(each.requires_grad_() for each in units)
    assert gradcheck(lambda s, t: info_nce(s, t, 0.5, free), inputs, eps=1e-6, atol=1e-7)
    assert gradcheck(lambda s, t: nce(s, t, *negatives, 0.5, 20), inputs, eps=1e-6, atol=1e-7)
