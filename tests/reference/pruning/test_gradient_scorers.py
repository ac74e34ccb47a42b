"""Claims about all scores from gradients at once; a scorer is one row of SCORERS."""

import copy
from functools import partial

import pytest
import torch
from gradient_nets import conv_net, loss_of, pictures
from torch import nn

from reference.pruning.gradient.grasp import grasp_scores
from reference.pruning.gradient.obd import (
    exact_diagonal,
    fisher_diagonal,
    hutchinson_diagonal,
    obd_scores,
)
from reference.pruning.gradient.snip import force_masks, iterative_snip_masks, snip_scores
from reference.pruning.gradient.synflow import synflow_masks, synflow_scores
from reference.pruning.gradient.taylor import absolute_taylor_scores, squared_taylor_scores
from reference.pruning.gradient.wood_fisher import wood_fisher_scores
from reference.pruning.masks import global_masks, sparsity_of
from reference.pruning.weights import prunable_weights


def obd(diagonal, model, batches, loss, spared=()):
    return obd_scores(prunable_weights(model, spared), diagonal(model, batches, loss, spared))


def hutchinson(model, batches, loss, spared=()):
    generator = torch.Generator().manual_seed(1)
    return hutchinson_diagonal(model, batches, loss, generator, 3, spared)


def synflow(model, batches, loss, spared=()):
    return synflow_scores(model, batches[0][0], spared)


def grasp(model, batches, loss, spared=()):
    return grasp_scores(model, batches, loss, 200.0, spared)


FROM_LOSS = {
    "snip": snip_scores,
    "grasp": partial(grasp_scores),
    "grasp, temperature": grasp,
    "taylor, squared": squared_taylor_scores,
    "taylor, absolute": absolute_taylor_scores,
    "obd, exact": partial(obd, exact_diagonal),
    "obd, hutchinson": partial(obd, hutchinson),
    "obd, fisher": partial(obd, fisher_diagonal),
    "woodfisher": lambda m, b, loss, spared=(): wood_fisher_scores(m, b, loss, spared=spared),
}
SCORERS = {**FROM_LOSS, "synflow": synflow}
STEPWISE = {
    "iterative snip": lambda m, b, s: iterative_snip_masks(m, b, loss_of, s, steps=4),
    "force": lambda m, b, s: force_masks(m, b, loss_of, s, steps=4),
    "synflow": lambda m, b, s: synflow_masks(m, b[0][0], s, steps=4),
}
every_scorer = pytest.mark.parametrize("score", SCORERS.values(), ids=SCORERS)
from_loss = pytest.mark.parametrize("score", FROM_LOSS.values(), ids=FROM_LOSS)
stepwise = pytest.mark.parametrize("masks", STEPWISE.values(), ids=STEPWISE)


def everything_about(model: nn.Module):
    tensors = [*model.parameters(), *model.buffers()]
    return (
        [each.detach().clone() for each in tensors],
        [p.requires_grad for p in model.parameters()],
        [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        [module.training for module in model.modules()],
        [len(module._forward_hooks) for module in model.modules()],
        torch.get_rng_state(),
    )


def same(one, other) -> bool:
    if isinstance(one, list):
        return all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) and torch.equal(one.signbit(), other.signbit())
    return one == other


@every_scorer
def test_scores_are_finite_and_in_the_shapes_of_the_weights(score):
    model = conv_net()
    found = score(model, pictures(), loss_of)
    weights = prunable_weights(model)
    assert {n: s.shape for n, s in found.items()} == {n: w.shape for n, w in weights.items()}
    assert list(found) == list(weights)
    assert all(torch.isfinite(each).all() and not each.requires_grad for each in found.values())


@every_scorer
@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_the_random_numbers_are_left_as_they_were(score, training):
    model, batches = conv_net().train(training), pictures()
    loss_of(model, batches[0]).backward()
    model[0].weight.requires_grad_(False)  # frozen weights are scored too
    model[8].eval()
    with torch.no_grad():
        model[5].weight[0, 0, 0, 0] = -0.0
    before = everything_about(model)
    score(model, batches, loss_of)
    assert same(list(before), list(everything_about(model)))


@every_scorer
def test_the_same_call_gives_the_same_scores_whatever_gradients_are_on(score):
    model, batches = conv_net(), pictures()
    first = score(model, batches, loss_of)
    with torch.no_grad():
        again = score(copy.deepcopy(model), batches, loss_of)
    assert all(torch.equal(first[name], again[name]) for name in first)


@every_scorer
def test_spared_layers_have_no_scores(score):
    found = score(conv_net(), pictures(), loss_of, spared=["0"])
    assert list(found) == ["5.weight", "8.weight"]


@stepwise
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.83, 0.97])
def test_masks_of_many_steps_have_exact_counts(masks, sparsity):
    model, batches = conv_net().eval(), pictures()
    before = everything_about(model)
    found = masks(model, batches, sparsity)
    total = sum(each.numel() for each in prunable_weights(model).values())
    assert sum(int((~m).sum()) for m in found.values()) == int(sparsity * total + 0.5)
    assert same(list(before), list(everything_about(model)))


@stepwise
def test_equal_shares_never_remove_everything(masks):
    with pytest.raises(ValueError, match="never reach sparsity 1"):
        masks(conv_net(), pictures(), 1.0)
    with pytest.raises(ValueError, match="within 0 and 1"):
        masks(conv_net(), pictures(), 1.2)


@from_loss
def test_masks_of_scores_have_exact_counts(score):
    scores = score(conv_net(), pictures(), loss_of)
    masks = global_masks(scores, 0.7)
    total = sum(each.numel() for each in scores.values())
    assert sparsity_of(masks) == pytest.approx(int(0.7 * total + 0.5) / total, abs=1e-12)


@from_loss
def test_no_batch_is_refused(score):
    with pytest.raises(ValueError, match="at least one batch, got none"):
        score(conv_net(), [], loss_of)


@every_scorer
def test_a_model_of_unknown_layers_is_refused(score):
    model = nn.Sequential(nn.BatchNorm2d(2), nn.ConvTranspose2d(2, 1, 3)).double()
    with pytest.raises(ValueError, match="Sequential has no weight to score"):
        score(model, pictures(), lambda m, b: m(b[0]).mean())


@from_loss
def test_gradients_that_are_not_finite_are_refused_by_name(score):
    def broken(model, batch):
        return loss_of(model, batch) + (model[5].weight.sum() * 0).sqrt()

    with pytest.raises(ValueError, match=r"gradient of '5\.weight' is not finite in 80 places"):
        score(conv_net(), pictures(), broken)


@from_loss
def test_gradients_that_are_all_zero_are_refused(score):
    with pytest.raises(ValueError, match=r"all scores of 3 weights are zero, from '0\.weight' on"):
        score(conv_net(), pictures(), lambda m, b: loss_of(m, b) * 0)


@from_loss
def test_a_weight_that_the_loss_does_not_see_is_named(score):
    model = nn.ModuleDict({"seen": nn.Linear(3, 2), "not": nn.Linear(3, 2)}).double()
    with pytest.raises(ValueError, match=r"does not depend on 'not\.weight'; spare its layer"):
        score(model, [torch.ones(1, 3).double()], lambda m, x: m["seen"](x).square().mean())


@from_loss
def test_what_is_no_loss_is_refused(score):
    with pytest.raises(ValueError, match=r"a loss must be one number, got shape \(5, 3\)"):
        score(conv_net(), pictures(), lambda m, b: m(b[0]))
    with pytest.raises(ValueError, match="computed without gradients"):
        score(conv_net(), pictures(), lambda m, b: loss_of(m, b).detach())
