import copy

import pytest
import torch
from gradient_nets import Quadratic, chain, its_own, loss_of, positive_definite, vectors
from torch import nn
from torch.nn.functional import cross_entropy

from labkit.models import GptSpec, build
from reference.pruning.gradient.derivatives import gradients
from reference.pruning.gradient.grasp import grasp_scores
from reference.pruning.gradient.hessian import flat, hessian, hessian_products, unflat
from reference.pruning.masks import global_masks, without_lowest
from reference.pruning.weights import prunable_weights


def smooth():
    return chain([5, 4, 3], nn.Tanh, bias=True), vectors(5, 3)


def moved(model, change):
    """The model with its prunable weights changed by that much."""
    found = copy.deepcopy(model)
    with torch.no_grad():
        for name, each in unflat(change, prunable_weights(model)).items():
            found.get_parameter(name).add_(each)
    return found


def flow(model, batches):
    return flat(gradients(model, prunable_weights(model), batches, loss_of)).square().sum()


def test_a_score_is_the_gradient_flow_that_is_lost_as_the_weight_shrinks():
    """d|g|^2/dt = -2 w (Hg); central differences of 1e-5 err by 1e-10 of the third derivative."""
    model, batches = smooth()
    weights = flat(prunable_weights(model))
    scores = flat(grasp_scores(model, batches, loss_of))
    for place in range(len(weights)):
        change = torch.zeros_like(weights)
        change[place] = -1e-5 * weights[place]
        slope = (flow(moved(model, change), batches) - flow(moved(model, -change), batches)) / 2e-5
        assert abs(slope + 2 * scores[place]) < 1e-8


def test_on_a_quadratic_the_score_is_known():
    matrix = positive_definite(6)
    model = Quadratic(matrix)
    w = model.layer.weight.detach()[0]
    found = grasp_scores(model, [None], its_own)["layer.weight"][0]
    assert torch.allclose(found, w * (matrix @ matrix @ w), atol=1e-12)


def test_the_mask_is_the_papers_which_removes_the_highest_of_the_negated():
    model, batches = smooth()
    scores = grasp_scores(model, batches, loss_of)
    kept = torch.cat([each.flatten() for each in global_masks(scores, 0.5).values()])
    papers = -flat(scores)
    assert papers[kept].max() < papers[~kept].min()
    assert (flat(scores)[~kept] < 0).any()


def test_a_product_with_the_hessian_is_the_difference_of_gradients():
    model, batches = smooth()
    weights = prunable_weights(model)
    v = torch.randn(len(flat(weights))).double()
    product = hessian_products(model, weights, batches, loss_of, v.unsqueeze(0))[0]
    up, down = (
        flat(gradients(near, prunable_weights(near), batches, loss_of))
        for near in (moved(model, 1e-5 * v), moved(model, -1e-5 * v))
    )
    assert torch.allclose(product, (up - down) / 2e-5, atol=1e-8)  # as above


def test_the_hessian_is_symmetric_and_of_a_quadratic_its_matrix():
    model, batches = smooth()
    found = hessian(model, prunable_weights(model), batches, loss_of)
    assert torch.allclose(found, found.T, atol=1e-14)
    matrix = positive_definite(5)
    quadratic = Quadratic(matrix)
    weights = prunable_weights(quadratic)
    assert torch.allclose(hessian(quadratic, weights, [0, 1], its_own), matrix, atol=1e-14)


def test_a_loss_linear_in_the_weights_has_no_curvature():
    model = nn.Linear(3, 2).double()
    found = hessian(
        model, prunable_weights(model), [torch.ones(1, 3).double()], lambda m, x: m(x).sum()
    )
    assert not found.any()
    with pytest.raises(ValueError, match="all scores of 1 weights are zero"):
        grasp_scores(model, [torch.ones(1, 3).double()], lambda m, x: m(x).sum())


def test_a_temperature_divides_the_logits():
    model, batches = smooth()

    def cooled(inner, batch):
        return cross_entropy(inner(batch[0]) / 50, batch[1])

    by_hand = grasp_scores(model, batches, cooled)
    found = grasp_scores(model, batches, loss_of, temperature=50.0)
    assert all(torch.equal(by_hand[name], found[name]) for name in found)
    plain = grasp_scores(model, batches, loss_of)
    assert not torch.equal(without_lowest(flat(found), 16), without_lowest(flat(plain), 16))


def test_a_transformer_can_be_differentiated_twice():
    model = build(GptSpec(vocabulary=20, width=16, depth=1, heads=2, context=8)).eval()
    tokens = torch.randint(0, 20, (2, 6))
    found = grasp_scores(model, [tokens], lambda m, b: m(b, labels=b).loss)
    assert "transformer.h.0.attn.c_attn.weight" in found


def test_temperatures_without_meaning_are_refused():
    model, batches = smooth()
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="temperature must be above zero"):
            grasp_scores(model, batches, loss_of, bad)
    gpt = build(GptSpec(vocabulary=20, width=16, depth=1, heads=2, context=8))
    with pytest.raises(ValueError, match="logits as a tensor, the model gave"):
        tokens = torch.randint(0, 20, (2, 6))
        grasp_scores(gpt, [tokens], lambda m, b: m(b).logits.mean(), 200.0)
