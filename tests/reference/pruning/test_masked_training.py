"""Claims about training under masks, bit for bit."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from training_runs import OPTIMIZERS, batches, net, step_, train_

from labkit.training import TrainingConfig, fit
from reference.pruning.magnitude import magnitude_scores
from reference.pruning.masked_training import masked_training
from reference.pruning.masks import all_kept, global_masks, layer_mask
from reference.pruning.weights import prunable_weights

every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


def half(model: nn.Module) -> dict[str, torch.Tensor]:
    return global_masks(magnitude_scores(model), 0.5)


def removed(model: nn.Module, masks) -> torch.Tensor:
    weights = dict(model.named_parameters())
    return torch.cat([weights[name][~mask] for name, mask in masks.items()])


def hidden_step_(model, hidden, masks, optimizer, batch, clip=None) -> None:
    """A step of the model that reads where(mask, hidden, 0): what masked training claims to be."""
    read = {
        name: torch.where(masks[name], each, torch.zeros(())) if name in masks else each
        for name, each in hidden.items()
    }
    optimizer.zero_grad()
    F.cross_entropy(functional_call(model, read, (batch[0],)), batch[1]).backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(hidden.values(), clip)
    optimizer.step()


def hidden_parameters(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: each.detach().clone().requires_grad_() for n, each in model.named_parameters()}


def equal_where_kept(model, hidden, masks) -> bool:
    everything = all_kept(hidden) | masks
    return all(
        torch.equal(each[everything[name]], hidden[name][everything[name]])
        for name, each in model.named_parameters()
    )


@every_optimizer
def test_kept_weights_learn_as_if_the_others_did_not_exist(make):
    model = net()
    masks, hidden, other = half(model), hidden_parameters(model), copy.deepcopy(model)
    with masked_training(model, masks):
        train_(model, make(list(model.parameters())))
    optimizer = make(list(hidden.values()))
    for batch in batches():
        hidden_step_(other, hidden, masks, optimizer, batch)
    assert equal_where_kept(model, hidden, masks)
    assert not removed(model, masks).any()
    assert removed(other, masks).any()  # the mask, not the task, makes them zero


@every_optimizer
def test_a_mask_in_mid_training_ends_what_the_optimizer_remembers(make):
    model = net()
    optimizer = make(list(model.parameters()))
    train_(model, optimizer)
    masks = half(model)
    with masked_training(model, masks):
        for batch in batches():
            step_(model, optimizer, batch)
            assert not removed(model, masks).any()
    for name, weight in prunable_weights(model).items():
        for kept in optimizer.state[weight].values():
            assert kept is None or kept.shape != weight.shape or not kept[~masks[name]].any()


@every_optimizer
def test_without_masks_the_same_training_brings_weights_back(make):
    """Were it not so, the tests above would hold of an empty context."""
    model = net()
    optimizer = make(list(model.parameters()))
    train_(model, optimizer)
    masks = half(model)
    with masked_training(model, masks):
        pass
    train_(model, optimizer)
    assert removed(model, masks).any()


@every_optimizer
def test_masks_that_remove_nothing_change_nothing(make):
    one, other = net(), net()
    with masked_training(one, all_kept(prunable_weights(one))):
        train_(one, make(list(one.parameters())))
    train_(other, make(list(other.parameters())))
    states = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in states)


@every_optimizer
def test_a_weight_that_comes_back_has_no_past(make):
    model = net()
    optimizer = make(list(model.parameters()))
    train_(model, optimizer)
    masks = half(model)
    with masked_training(model, masks) as training:
        train_(model, optimizer)
        training.set_masks_(all_kept(masks))
        assert not removed(model, masks).any()
        weights = prunable_weights(model)
        for name, weight in weights.items():
            remembered = [
                each
                for each in optimizer.state[weight].values()
                if each is not None and each.shape == weight.shape
            ]
            assert not any(each[~masks[name]].any() for each in remembered)
        step_(model, optimizer, batches()[0])
    assert removed(model, masks).any()


def test_removed_gradients_do_not_count_in_a_clipped_norm():
    model = net()
    masks, hidden, other = half(model), hidden_parameters(model), copy.deepcopy(model)
    sgd = OPTIMIZERS["momentum and decay"]
    optimizer, hidden_optimizer = sgd(list(model.parameters())), sgd(list(hidden.values()))
    with masked_training(model, masks):
        for batch in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(batch[0]), batch[1]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            hidden_step_(other, hidden, masks, hidden_optimizer, batch, clip=0.1)
    assert equal_where_kept(model, hidden, masks)


def test_masks_may_grow_while_training_runs():
    model = net()
    optimizer = OPTIMIZERS["adamw"](list(model.parameters()))
    scores = magnitude_scores(model)
    with masked_training(model, all_kept(scores)) as training:
        for number, batch in enumerate(batches()):
            training.set_masks_(global_masks(scores, number / 8))
            step_(model, optimizer, batch)
            assert not removed(model, global_masks(scores, number / 8)).any()
    assert training.steps == 8


def test_gradients_that_are_there_already_are_masked():
    model = net()
    F.cross_entropy(model(batches()[0][0]), batches()[0][1]).backward()
    before = {name: each.grad.clone() for name, each in prunable_weights(model).items()}
    masks = half(model)
    with masked_training(model, masks):
        for name, weight in prunable_weights(model).items():
            assert torch.equal(weight.grad, before[name] * masks[name])


def test_a_dense_gradient_can_still_be_asked_for():
    model = net()
    masks = half(model)
    with masked_training(model, masks):
        loss = F.cross_entropy(model(batches()[0][0]), batches()[0][1])
        gradient = torch.autograd.grad(loss, model[4].weight)[0]
    assert gradient[~masks["4.weight"]].any()


def test_the_model_is_its_own_again_afterwards():
    model = net()
    keys = list(model.state_dict())
    with masked_training(model, half(model)):
        pass
    masks = half(model)
    train_(model, OPTIMIZERS["adamw"](list(model.parameters())))
    assert list(model.state_dict()) == keys
    assert removed(model, masks).any()


def test_hooks_are_removed_when_training_fails():
    model = net()
    masks = half(model)
    with pytest.raises(RuntimeError, match="diverged"), masked_training(model, masks):
        raise RuntimeError("diverged")
    train_(model, OPTIMIZERS["sgd"](list(model.parameters())))
    assert removed(model, masks).any()


def test_optimizers_of_other_models_go_their_way():
    one, other, alone = net(0), net(1), net(1)
    with masked_training(one, half(one)) as training:
        train_(other, OPTIMIZERS["adamw"](list(other.parameters())))
    train_(alone, OPTIMIZERS["adamw"](list(alone.parameters())))
    assert torch.equal(other[4].weight, alone[4].weight)
    assert training.steps == 0


def test_a_frozen_weight_is_masked_too():
    model = net()
    model[4].weight.requires_grad_(False)
    masks = half(model)
    with masked_training(model, masks):
        train_(model, OPTIMIZERS["sgd"]([p for p in model.parameters() if p.requires_grad]))
    assert not removed(model, masks).any()


class Classify:
    """A task of the course's training loop."""

    rows = 48

    def __init__(self) -> None:
        self.images = torch.cat([each for each, _ in batches()])
        self.labels = torch.cat([each for _, each in batches()])

    def loss(self, model, chosen, generator):
        return F.cross_entropy(model(self.images[chosen]), self.labels[chosen])

    def score(self, model) -> float:
        model.eval()
        return -F.cross_entropy(model(self.images), self.labels).item()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_course_s_training_loop_keeps_masks_it_knows_nothing_of(optimizer):
    model = net()
    masks = half(model)
    dense_norm = model[4].weight.detach().norm()
    config = TrainingConfig(3, 8, optimizer, 0.02, weight_decay=0.1, clip_norm=1.0)
    with masked_training(model, masks) as training:
        fit(model, Classify(), config)
    assert training.steps == 18
    assert not removed(model, masks).any()
    assert model[4].weight.norm() != dense_norm


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        ({"9.weight": torch.ones(2, dtype=torch.bool)}, "no parameter '9.weight'"),
        ({"4.weight": torch.ones(2, dtype=torch.bool)}, r"shape \(2,\), the parameter \(3, 36\)"),
    ],
)
def test_masks_of_another_model_are_refused(masks, told):
    with pytest.raises(ValueError, match=told), masked_training(net(), masks):
        pass


def test_masks_for_other_weights_are_refused_in_mid_training():
    model = net()
    masks = half(model)
    with masked_training(model, masks) as training:
        with pytest.raises(ValueError, match=r"masked for other weights: 0\.weight"):
            training.set_masks_({"4.weight": layer_mask(model[4].weight, 0.5)})
        assert all(torch.equal(training.masks[name], masks[name]) for name in masks)
