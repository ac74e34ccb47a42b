import copy

import torch
from gradient_nets import chain, loss_of, vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reference.pruning.gradient.derivatives import gradients
from reference.pruning.gradient.snip import force_masks, iterative_snip_masks, snip_scores
from reference.pruning.masks import global_masks
from reference.pruning.weights import masked, prunable_weights

STEP = 1e-6  # central differences: error of 1e-12 from curvature, 1e-10 from float64


def gated(model, name, place, factor, batch):
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.get_parameter(name).view(-1)[place] *= factor
        return loss_of(changed, batch).item()


def test_a_score_is_the_derivative_of_the_loss_by_the_gate():
    model, batches = chain([5, 4, 3], bias=True), vectors(5, 3, count=1)
    for name, scores in snip_scores(model, batches, loss_of).items():
        for place, score in enumerate(scores.flatten().tolist()):
            up, down = (gated(model, name, place, 1 + s, batches[0]) for s in (STEP, -STEP))
            assert abs(score - abs(up - down) / (2 * STEP)) < 1e-8


@given(st.lists(st.integers(2, 6), min_size=3, max_size=5), st.integers(0, 99))
@settings(max_examples=25)
def test_without_biases_weight_times_gradient_has_one_sum_in_all_layers(widths, seed):
    torch.manual_seed(seed)
    model, batch = chain(widths), vectors(widths[0], widths[-1], count=1)[0]
    found = gradients(model, prunable_weights(model), [batch], loss_of)
    sums = torch.stack([(found[n] * w).sum() for n, w in prunable_weights(model).items()])
    logits = model(batch[0]).detach().requires_grad_()
    nn.functional.cross_entropy(logits, batch[1]).backward()
    assert torch.allclose(sums, (logits.grad * logits).sum(), atol=1e-12)


def test_equal_batches_count_as_one_batch_of_all():
    model, batches = chain([5, 4, 3]), vectors(5, 3, count=3)
    at_once = [tuple(map(torch.cat, zip(*batches, strict=True)))]
    one, many = (snip_scores(model, each, loss_of) for each in (at_once, batches))
    assert all(torch.allclose(one[name], many[name], atol=1e-14) for name in one)


def test_a_weight_of_two_layers_is_closed_in_both():
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)).double()
    model[2].weight = model[0].weight
    batch = vectors(4, 4, count=1)[0]
    score = snip_scores(model, [batch], loss_of)["0.weight"].view(-1)[5]
    up, down = (gated(model, "0.weight", 5, 1 + s, batch) for s in (STEP, -STEP))
    assert abs(score - abs(up - down) / (2 * STEP)) < 1e-8


def test_in_one_step_all_three_are_one():
    model, batches = chain([6, 5, 4]), vectors(6, 4)
    plain = global_masks(snip_scores(model, batches, loss_of), 0.6)
    for masks_of in (iterative_snip_masks, force_masks):
        found = masks_of(model, batches, loss_of, 0.6, steps=1)
        assert all(torch.equal(found[name], plain[name]) for name in plain)


def test_the_second_step_scores_the_network_that_the_first_left():
    model, batches = chain([6, 8, 4]), vectors(6, 4)
    first = global_masks(snip_scores(model, batches, loss_of), 1 - 0.25**0.5)
    left = snip_scores(masked(model, first), batches, loss_of)
    expected = global_masks(left, 0.75)  # what is gone scores 0, and nothing else does
    found = iterative_snip_masks(model, batches, loss_of, 0.75, steps=2)
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_what_iterative_snip_removes_stays_away_and_force_can_bring_it_back():
    returned = 0
    for seed in range(6):
        torch.manual_seed(seed)
        model, batches = chain([6, 8, 8, 4]), vectors(6, 4)
        first = global_masks(snip_scores(model, batches, loss_of), 1 - 0.2 ** (1 / 3))
        good = iterative_snip_masks(model, batches, loss_of, 0.8, steps=3)
        assert not any((good[name] & ~first[name]).any() for name in first)
        free = force_masks(model, batches, loss_of, 0.8, steps=3)
        returned += sum(int((free[name] & ~first[name]).sum()) for name in first)
    assert returned > 0
