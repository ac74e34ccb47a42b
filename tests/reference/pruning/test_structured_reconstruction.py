"""Claims about refitted layers. Tolerances of 1e-9 are float64's over some hundred products."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import SILENT, images, network
from torch import nn

from reference.pruning.structured.channels import by_group
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.importance import random_scores
from reference.pruning.structured.reconstruction import change, reconstruct
from reference.pruning.structured.remove import masked, remove

BATCHES = [images(8, seed) for seed in range(2)]


def halved(model, seed=0):
    graph = dependency_graph(model, images())
    return graph, by_group(graph, random_scores(graph, torch.Generator().manual_seed(seed)), 0.5)


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(sorted(SILENT)), max_size=4),
    st.integers(0, 99),
    st.sampled_from([1e-8, 1e-3, 1.0]),
)
def test_no_layer_is_worse_off_than_without(blocks, seed, damping):
    model = network(blocks, "flatten", seed)
    graph, masks = halved(model, seed)
    found = reconstruct(model, graph, masks, BATCHES, damping)
    for fit in found.layers.values():
        assert fit.after <= fit.before * (1 + 1e-9) + 1e-18
    pruned = remove(found.model, graph, masks)
    assert torch.allclose(pruned(images()), found.model(images()), rtol=1e-9, atol=1e-9)


def chain(second, in_place=False):
    torch.manual_seed(0)
    first = nn.Conv2d(3, 6, 1)
    head = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(inplace=in_place), head).double()
    model(images())
    return model.eval()


SECONDS = {
    "plain": lambda: nn.Conv2d(6, 4, 3),
    "padded": lambda: nn.Conv2d(6, 4, 3, padding=1, stride=2),
    "uneven": lambda: nn.Conv2d(6, 4, (1, 3), padding=(0, 2), dilation=(1, 2), bias=False),
    "circular": lambda: nn.Conv2d(6, 4, 3, padding=1, padding_mode="circular"),
    "same": lambda: nn.Conv2d(6, 4, 2, padding="same"),
    "grouped": lambda: nn.Conv2d(6, 4, 3, groups=2),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("second", SECONDS.values(), ids=SECONDS)
def test_the_errors_told_are_those_of_the_layer(second, in_place):
    """Also where an activation behind the layer overwrites what it made."""
    model = chain(second(), in_place)
    graph = dependency_graph(model, images())
    masks = {"0.weight": torch.arange(graph.groups["0.weight"].size) > 0}
    found = reconstruct(model, graph, masks, BATCHES)
    zeros = masked(model, graph, masks)
    x = torch.cat(BATCHES)
    wanted, without, refitted = (each[:3](x).detach() for each in (model, zeros, found.model))
    assert found.layers["2"].before == pytest.approx((wanted - without).square().mean().item())
    assert found.layers["2"].after == pytest.approx((wanted - refitted).square().mean().item())
    assert found.layers["2"].after < 0.9 * found.layers["2"].before


def test_a_layer_makes_up_for_the_errors_of_those_before_it():
    model = chain(nn.Conv2d(6, 4, 3))
    graph, masks = halved(model)
    found = reconstruct(model, graph, masks, BATCHES)
    x = torch.cat(BATCHES)
    error = (model(x) - found.model(x)).square().mean().item()
    assert list(found.layers) == ["2", "4.1"]
    assert found.layers["4.1"].after == pytest.approx(error)


def test_a_channel_that_another_one_can_stand_in_for_costs_nothing():
    model = chain(nn.Conv2d(6, 4, 3, bias=False))
    with torch.no_grad():
        model[0].weight[5], model[0].bias[5] = 2 * model[0].weight[1], 2 * model[0].bias[1]
    graph = dependency_graph(model, images())
    masks = {"0.weight": torch.arange(6) < 5}
    found = reconstruct(model, graph, masks, BATCHES, damping=1e-12)
    x = images(4, seed=9)
    assert torch.allclose(remove(found.model, graph, masks)(x), model(x), atol=1e-6)  # damping
    expected = model[2].weight[:, 1] + 2 * model[2].weight[:, 5]
    assert torch.allclose(found.model[2].weight[:, 1], expected, atol=1e-6)


def test_with_next_to_no_damping_it_is_the_least_squares_solution():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 6, generator=generator, dtype=torch.float64)
    y = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    exact = torch.linalg.lstsq(x, y).solution.T
    assert torch.allclose(change(x, y, 1e-12), exact, atol=1e-9)


def test_a_reader_of_all_that_is_kept_is_left_alone():
    model = chain(nn.Conv2d(6, 4, 3))
    before = copy.deepcopy(model.state_dict())
    graph = dependency_graph(model, images())
    masks = {"0.weight": torch.arange(6) < 3, "2.weight": torch.ones(4, dtype=torch.bool)}
    found = reconstruct(model, graph, masks, BATCHES)
    assert list(found.layers) == ["2"]
    assert torch.equal(found.model[4][1].weight, model[4][1].weight)
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())


@pytest.mark.parametrize(
    ("batches", "damping", "told"),
    [
        (BATCHES, 0.0, "damping must be above 0, got 0.0"),
        ([images() * torch.inf], 1e-4, "not finite"),
        ([], 1e-4, "not reached by 0 batches"),
    ],
)
def test_what_cannot_be_fitted_is_refused(batches, damping, told):
    model = chain(nn.Conv2d(6, 4, 3))
    graph, masks = halved(model)
    with pytest.raises(ValueError, match=told):
        reconstruct(model, graph, masks, batches, damping)
