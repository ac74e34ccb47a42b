"""Quadratics in float64: 1e-12 is rounding."""

import pytest
import torch
from gradient_nets import Quadratic, chain, its_own, loss_of, positive_definite, vectors
from torch import nn

from reference.pruning.gradient.derivatives import stacked_gradients
from reference.pruning.gradient.hessian import flat, hessian
from reference.pruning.gradient.obd import (
    exact_diagonal,
    fisher_diagonal,
    hutchinson_diagonal,
    obd_scores,
)
from reference.pruning.weights import prunable_weights


def at_its_minimum(matrix):
    model = Quadratic(matrix)
    model.minimum = model.layer.weight.detach()[0].clone()
    return model


def loss_without(model, places):
    with torch.no_grad():
        before = model.layer.weight.clone()
        model.layer.weight[0, places] = 0
        found = model().item()
        model.layer.weight.copy_(before)
        return found


def scores_of(model):
    diagonal = exact_diagonal(model, [None], its_own)
    return obd_scores(prunable_weights(model), diagonal)["layer.weight"][0]


def test_a_diagonal_hessian_gives_the_loss_of_any_set_exactly():
    model = at_its_minimum(torch.diag(torch.rand(7).double() + 0.1))
    scores = scores_of(model)
    for places in ([2], [0, 5], [1, 2, 3, 4], list(range(7))):
        assert scores[places].sum().item() == pytest.approx(loss_without(model, places), rel=1e-12)


def test_else_it_is_off_by_the_terms_between_weights():
    matrix = positive_definite(6)
    model = at_its_minimum(matrix)
    w, scores = model.minimum, scores_of(model)
    for place in range(6):
        assert scores[place].item() == pytest.approx(loss_without(model, [place]), rel=1e-12)
    missing = loss_without(model, [1, 4]) - scores[[1, 4]].sum().item()
    assert missing == pytest.approx((w[1] * matrix[1, 4] * w[4]).item(), rel=1e-9)
    assert abs(missing) > 1e-6


def test_the_exact_diagonal_is_the_hessians():
    model, batches = chain([5, 4, 3], nn.Tanh, bias=True), vectors(5, 3)
    expected = hessian(model, prunable_weights(model), batches, loss_of).diagonal()
    assert torch.allclose(flat(exact_diagonal(model, batches, loss_of)), expected, atol=1e-14)


def test_more_weights_than_fit_at_once_are_the_same():
    model = Quadratic(positive_definite(300))
    found = exact_diagonal(model, [None], its_own)["layer.weight"][0]
    assert torch.allclose(found, model.matrix.diagonal(), atol=1e-13)


def test_one_probe_is_exact_where_the_hessian_is_diagonal():
    model = Quadratic(torch.diag(torch.rand(9).double()))
    probe = torch.Generator().manual_seed(0)
    found = hutchinson_diagonal(model, [None], its_own, probe, probes=1)["layer.weight"][0]
    assert torch.allclose(found, model.matrix.diagonal(), atol=1e-15)


def test_probes_have_no_bias_and_the_variance_of_theory():
    """Means within five standard errors of 2000 probes."""
    matrix = positive_definite(6)
    probe = torch.Generator().manual_seed(0)
    found = hutchinson_diagonal(Quadratic(matrix), [None], its_own, probe, 2000)["layer.weight"][0]
    variance = matrix.square().sum(1) - matrix.diagonal().square()
    assert ((found - matrix.diagonal()).abs() < 5 * (variance / 2000).sqrt()).all()


def test_fishers_diagonal_is_the_mean_square_over_samples():
    model, batches = chain([5, 4, 3]), vectors(5, 3, count=5, size=1)
    rows = stacked_gradients(model, prunable_weights(model), batches, loss_of)
    for name, found in fisher_diagonal(model, batches, loss_of).items():
        assert torch.allclose(found, rows[name].square().mean(0), atol=1e-15)


def test_a_weight_at_a_maximum_goes_first():
    matrix = torch.diag(torch.tensor([1.0, -1.0, 2.0]).double())
    model = at_its_minimum(matrix)
    with torch.no_grad():
        model.layer.weight.fill_(1)
        model.minimum.fill_(1)
    assert scores_of(model).argmin() == 1


def test_no_probe_is_refused():
    with pytest.raises(ValueError, match="probes must be at least 1, got 0"):
        generator = torch.Generator()
        hutchinson_diagonal(chain([3, 2]), vectors(3, 2), loss_of, generator, probes=0)
