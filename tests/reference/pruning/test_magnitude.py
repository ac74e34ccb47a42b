import torch
from torch import nn

from reference.pruning.magnitude import magnitude_scores
from reference.pruning.masks import global_masks, layer_masks, sparsity_of
from reference.pruning.weights import masked, prunable_weights


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def test_scores_are_the_absolute_weights_that_are_pruned():
    model = net()
    scores = magnitude_scores(model)
    expected = {name: each.detach().abs() for name, each in prunable_weights(model).items()}
    assert list(scores) == ["0.weight", "3.weight"]
    assert all(torch.equal(scores[name], expected[name]) for name in expected)
    assert not any(each.requires_grad for each in scores.values())


def test_a_spared_layer_has_no_scores():
    assert list(magnitude_scores(net(), spared=["0"])) == ["3.weight"]


def test_no_choice_of_as_many_weights_changes_a_layer_less():
    """Keeping the largest is the projection onto all tensors with that many zeros."""
    model = net()
    masks = global_masks(magnitude_scores(model), 0.6)
    kept = sum(each.square().sum() for each in prunable_weights(masked(model, masks)).values())
    squares = torch.cat([each.detach().flatten() for each in prunable_weights(model).values()])
    most = squares.square().sort(descending=True).values
    count = sum(int(each.sum()) for each in masks.values())
    assert torch.allclose(kept, most[:count].sum(), rtol=1e-6)  # float32's, summed in two orders


def test_a_scaled_layer_is_spared_by_global_masks_and_not_by_its_own():
    model = net()
    with torch.no_grad():
        model[3].weight.mul_(1024)
    scores = magnitude_scores(model)
    assert global_masks(scores, 0.5)["3.weight"].all()
    half = layer_masks(scores, dict.fromkeys(scores, 0.5))
    assert sparsity_of({"3.weight": half["3.weight"]}) == 0.5
