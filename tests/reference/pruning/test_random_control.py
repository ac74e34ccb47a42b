import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reference.pruning.masks import global_masks, layer_masks, sparsity_of
from reference.pruning.random_control import random_scores, shuffled_masks


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(40, 50), nn.ReLU(), nn.Linear(50, 4))


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_seed_is_a_lot_and_another_seed_another():
    one, again, other = (random_scores(net(), drawn(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


def test_the_lot_does_not_look_at_the_weights():
    model = net()
    before = random_scores(model, drawn(0))
    with torch.no_grad():
        model[0].weight.zero_()
    assert torch.equal(random_scores(model, drawn(0))["0.weight"], before["0.weight"])


def test_every_layer_loses_about_the_same_share():
    masks = global_masks(random_scores(net(), drawn(0)), 0.5)
    for name, mask in masks.items():
        spread = 0.5 / mask.numel() ** 0.5  # of the mean of so many coins
        assert abs(sparsity_of({name: mask}) - 0.5) < 5 * spread


def test_a_spared_layer_is_out_of_the_lot():
    assert list(random_scores(net(), drawn(0), spared=["2"])) == ["0.weight"]


@given(st.integers(0, 99), st.floats(0, 1))
def test_shuffling_keeps_the_count_of_every_layer(seed, sparsity):
    scores = {"a": torch.rand(6, 5), "b": torch.rand(3, 2, 3, 3)}
    masks = layer_masks(scores, dict.fromkeys(scores, sparsity))
    shuffled = shuffled_masks(masks, drawn(seed))
    for name, mask in masks.items():
        assert shuffled[name].shape == mask.shape
        assert shuffled[name].sum() == mask.sum()


def test_shuffling_reaches_every_place():
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[0, 0] = True
    generator = drawn(0)
    found = sum(shuffled_masks({"a": mask}, generator)["a"].int() for _ in range(400))
    assert (found > 0).all()
    assert (found < 60).all()  # 25 expected, 7 standard deviations of a binomial
