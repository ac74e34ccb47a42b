from itertools import combinations

import pytest
import torch
from gradient_nets import chain, loss_of, positive_definite, vectors
from transformers.pytorch_utils import Conv1D

from reference.pruning.gradient.derivatives import stacked_gradients
from reference.pruning.gradient.obert import (
    best_of_groups,
    group_scores,
    obert_groups,
    obert_n_of_m,
)
from reference.pruning.gradient.obs import obs_scores
from reference.pruning.gradient.pruned import NOfM
from reference.pruning.gradient.wood_fisher import FisherConfig, wood_fisher
from reference.pruning.weights import prunable_weights

CONFIG = FisherConfig(block_size=16, damping=1e-3)


def blocks(seed: int = 0):
    inverse = torch.stack([positive_definite(8, seed + each) for each in range(3)])
    weight = torch.randn(3, 8, generator=torch.Generator().manual_seed(seed)).double()
    return weight, inverse


def model_and_samples():
    return chain([8, 6, 4], bias=True), vectors(8, 4, count=30, size=1)


def test_a_groups_score_is_the_cost_of_all_its_weights_together():
    weight, inverse = blocks()
    found = group_scores(weight, inverse, 4)
    for block in range(3):
        for group in range(2):
            places = slice(4 * group, 4 * group + 4)
            w = weight[block, places]
            expected = w @ inverse[block, places, places].inverse() @ w / 2
            assert found[block, group].item() == pytest.approx(expected.item(), rel=1e-9)


def test_it_is_not_the_sum_of_single_scores():
    weight, inverse = blocks()
    summed = obs_scores(weight, inverse).unflatten(1, (2, 4)).sum(2)
    assert not torch.allclose(group_scores(weight, inverse, 4), summed, rtol=0.05)
    assert torch.allclose(group_scores(weight, inverse, 1), obs_scores(weight, inverse), rtol=1e-9)


@pytest.mark.parametrize("pattern", [NOfM(2, 4), NOfM(1, 4), NOfM(4, 8)])
def test_of_each_group_the_cheapest_choice_of_all_goes(pattern):
    weight, inverse = blocks()
    found = best_of_groups(weight, inverse, pattern)
    n, m = pattern
    for block in range(3):
        for begin in range(0, 8, m):
            costs = {}
            for gone in combinations(range(begin, begin + m), m - n):
                places = list(gone)
                w = weight[block, places]
                costs[gone] = (w @ inverse[block][places][:, places].inverse() @ w).item()
            expected = min(costs, key=costs.get)
            removed = torch.nonzero(~found[block, begin : begin + m]).flatten() + begin
            assert tuple(removed.tolist()) == expected


def test_none_of_m_and_all_of_m():
    weight, inverse = blocks()
    assert not best_of_groups(weight, inverse, NOfM(0, 4)).any()
    assert best_of_groups(weight, inverse, NOfM(4, 4)).all()


def test_groups_of_one_are_wood_fisher():
    model, samples = model_and_samples()
    single = obert_groups(model, samples, loss_of, 0.5, 1, CONFIG)
    known = wood_fisher(model, samples, loss_of, 0.5, CONFIG)
    assert all(torch.equal(single.masks[name], known.masks[name]) for name in known.masks)
    for one, other in zip(single.model.parameters(), known.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 1.0])
def test_groups_go_whole_and_as_many_as_asked(sparsity):
    model, samples = model_and_samples()
    found = obert_groups(model, samples, loss_of, sparsity, 4, CONFIG)
    groups = torch.cat([each.reshape(-1, 4) for each in found.masks.values()])
    assert (groups.all(1) | ~groups.any(1)).all()
    assert int((~groups.any(1)).sum()) == int(sparsity * len(groups) + 0.5)


def test_n_of_every_m_inputs_are_kept_and_the_others_move():
    model = chain([8, 8, 4])
    samples = vectors(8, 4, count=30, size=1)
    found = obert_n_of_m(model, samples, loss_of, NOfM(2, 4), CONFIG)
    for name, mask in found.masks.items():
        assert (mask.unflatten(1, (-1, 4)).sum(2) == 2).all()
        weight = found.model.get_parameter(name)
        assert not weight[~mask].any()
        assert not torch.equal(weight, model.get_parameter(name) * mask)


def test_the_update_makes_up_for_all_that_left_a_block():
    """What moves is at a minimum of Fisher's quadratic: its gradient is zero on what is kept."""
    model, samples = model_and_samples()
    whole = FisherConfig(48, 1e-3)
    found = obert_groups(model, samples, loss_of, 0.5, 4, whole)
    rows = stacked_gradients(model, prunable_weights(model), samples, loss_of)
    for name, mask in found.masks.items():
        g = rows[name].flatten(1)
        curved = g.T @ g / len(g) + 1e-3 * torch.eye(g.shape[1]).double()
        change = (found.model.get_parameter(name) - model.get_parameter(name)).detach().flatten()
        assert (curved @ change)[mask.flatten()].abs().max() < 1e-9


def test_groups_that_divide_nothing_are_refused():
    model, samples = chain([6, 5, 3]), vectors(6, 3, count=3)
    with pytest.raises(ValueError, match="blocks of 16 do not divide into groups of 5"):
        obert_groups(model, samples, loss_of, 0.5, 5, CONFIG)
    with pytest.raises(ValueError, match=r"'0\.weight' has 30 weights, not groups of 4"):
        obert_groups(model, samples, loss_of, 0.5, 4, CONFIG)
    with pytest.raises(ValueError, match=r"'0\.weight' has rows of 6, which do not divide"):
        obert_n_of_m(model, samples, loss_of, NOfM(2, 4), CONFIG)
    with pytest.raises(ValueError, match="got 5:4"):
        obert_n_of_m(*model_and_samples(), loss_of, NOfM(5, 4), CONFIG)


def test_neighbours_that_are_outputs_are_refused():
    layer = Conv1D(4, 8).double()
    with pytest.raises(ValueError, match="its neighbours in memory are not inputs"):
        obert_n_of_m(layer, vectors(8, 4, count=3), loss_of, NOfM(2, 4), CONFIG)
