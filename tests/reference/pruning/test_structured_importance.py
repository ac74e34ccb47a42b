"""Claims about scores. Tolerances of 1e-9 are float64's over sums of some hundred products."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import SILENT, Joined, conv, images, network
from torch import nn

from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.importance import (
    filter_distances,
    filter_norms,
    group_norms,
    norm_scales,
    normalised,
    random_scores,
    slimming_penalty,
)
from reference.pruning.structured.importance_taylor import gate_scores
from reference.pruning.structured.importance_variance import (
    remove_keeping_means,
    variance_scores,
    with_means_folded,
)
from reference.pruning.structured.remove import masked, remove, reordered


def loss_of(model, x):
    return model(x).square().mean() + model(x).mean()


BATCHES = [images(3, seed) for seed in range(3)]
SCORERS = {
    "L1": partial(filter_norms, order=1),
    "L2": partial(filter_norms, order=2),
    "group norm": group_norms,
    "distances": filter_distances,
    "gates": partial(gate_scores, batches=BATCHES, loss_of=loss_of),
    "variance": partial(variance_scores, batches=BATCHES),
}


def plain(*widths):
    torch.manual_seed(0)
    layers = [conv(a, b) for a, b in zip((3, *widths), widths, strict=False)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * 16, 5)).double().eval()
    for each in model.modules():
        if isinstance(each, nn.BatchNorm2d):
            for tensor in (each.weight, each.bias, each.running_mean, each.running_var):
                tensor.data.uniform_(0.5, 1.5)
    return model, dependency_graph(model, images())


def residual():
    torch.manual_seed(0)
    body = Joined(conv(4, 4), nn.Conv2d(4, 4, 1), torch.add)
    model = nn.Sequential(conv(3, 4), body, nn.Conv2d(4, 2, 1)).double().eval()
    return model, dependency_graph(model, images())


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)
@settings(max_examples=12)
@given(blocks=st.lists(st.sampled_from(sorted(SILENT)), max_size=3), seed=st.integers(0, 99))
def test_scores_go_with_their_channels(scorer, blocks, seed):
    model, x = network(blocks, "mean", seed), images()
    graph = dependency_graph(model, x)
    draws = torch.Generator().manual_seed(seed)
    orders = {name: torch.randperm(g.size, generator=draws) for name, g in graph.groups.items()}
    before, after = (scorer(each, graph) for each in (model, reordered(model, graph, orders)))
    for name, order in orders.items():
        assert torch.allclose(after[name], before[name][order], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)
def test_scoring_changes_nothing(scorer):
    model, graph = residual()
    model.train()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    state = torch.get_rng_state()
    scores = scorer(model, graph)
    assert {name: each.shape for name, each in scores.items()} == {
        name: (group.size,) for name, group in graph.groups.items()
    }
    assert all(torch.isfinite(each).all() and not each.requires_grad for each in scores.values())
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert all(each.grad is None and each.requires_grad for each in model.parameters())
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("order", [1, 2])
def test_a_filter_norm_is_over_all_filters_that_make_the_channel(order):
    model, graph = residual()
    weights = [model[1].one[0].weight, model[1].other.weight]
    rows = torch.cat([each.detach().flatten(1) for each in weights], dim=1)
    scores = filter_norms(model, graph, order)["1.one.0.weight"]
    assert torch.allclose(scores, rows.norm(order, dim=1), rtol=1e-12)


def test_squared_group_norms_sum_to_all_that_can_go():
    model, graph = plain(4, 6)
    squares = {name: each.square().sum() for name, each in model.named_parameters()}
    squares["1.0.weight"] *= 2  # a row of one unit and a column of another
    squares["3.bias"] *= 0  # the output's
    found = sum(each.square().sum() for each in group_norms(model, graph).values())
    assert torch.allclose(found, sum(squares.values()))


def test_distances_are_those_to_all_other_filters():
    model, graph = plain(5)
    rows = model[0][0].weight.detach().flatten(1)
    by_hand = torch.stack([(rows - row).norm(dim=1).sum() for row in rows])
    assert torch.allclose(filter_distances(model, graph)["0.0.weight"], by_hand, rtol=1e-12)


def test_a_filter_amid_the_others_goes_first_and_not_the_smallest():
    model, graph = plain(3)
    with torch.no_grad():
        model[0][0].weight.copy_(
            torch.tensor([1.0, 6.0, 9.0]).reshape(3, 1, 1, 1).expand(3, 3, 3, 3)
        )
    assert filter_distances(model, graph)["0.0.weight"].argmin() == 1
    assert filter_norms(model, graph)["0.0.weight"].argmin() == 0


def test_scales_are_sizes_of_gamma_and_the_penalty_pulls_at_each_alike():
    model, graph = plain(4, 3)
    with torch.no_grad():
        model[0][1].weight.copy_(torch.tensor([0.0, -2.0, 1.0, 3.0]))
    assert norm_scales(model, graph)["0.0.weight"].tolist() == [0, 2, 1, 3]
    penalty = slimming_penalty(model)
    assert penalty.item() == pytest.approx(6 + model[1][1].weight.abs().sum().item())
    (pull,) = torch.autograd.grad(penalty, model[0][1].weight)
    assert pull.tolist() == [0, -1, 1, 1]


def test_several_norms_of_a_channel_are_averaged():
    model, graph = plain(4)
    torch.manual_seed(1)
    body = Joined(conv(3, 4), conv(3, 4), torch.add)
    model = nn.Sequential(body, nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        body.one[1].weight.fill_(-3)
    graph = dependency_graph(model, images().float())
    assert norm_scales(model, graph)["0.one.0.weight"].tolist() == [2, 2, 2, 2]


def test_random_scores_come_from_the_generator_alone():
    _, graph = plain(4, 6)
    one, same, other = (
        random_scores(graph, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("by", ["mean", "norm", "max"])
def test_normalised_scores_do_not_follow_the_scale_of_a_layer(by):
    scores = {"a": torch.rand(5), "b": torch.rand(3), "dead": torch.zeros(2)}
    scaled = scores | {"a": 1000 * scores["a"]}
    for name, each in normalised(scores, by).items():
        assert torch.allclose(each, normalised(scaled, by)[name])
        assert torch.isfinite(each).all()
    sizes = {"mean": torch.mean, "norm": torch.linalg.vector_norm, "max": torch.amax}
    assert sizes[by](normalised(scores, by)["a"]).item() == pytest.approx(1)


def gate_derivatives(model, modules, x):
    """dL/dz by autograd, with one gate over the outputs of all these modules."""
    gate = torch.ones(4, dtype=torch.float64, requires_grad=True)
    shaped = gate.reshape(-1, 1, 1)
    hooks = [each.register_forward_hook(lambda *args: args[2] * shaped) for each in modules]
    (found,) = torch.autograd.grad(loss_of(model, x), gate)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("behind", ["layers", "norms"])
def test_gate_scores_are_the_squared_derivatives_by_a_gate_at_1(behind):
    torch.manual_seed(0)
    body = Joined(conv(3, 4), conv(3, 4), torch.add)
    body.one[0].bias = nn.Parameter(torch.rand(4))
    model = nn.Sequential(body, nn.Conv2d(4, 2, 1)).double().eval()
    for norm in (body.one[1], body.other[1]):
        norm.bias.data.uniform_(-0.5, 1)
    graph = dependency_graph(model, images())
    index = {"layers": 0, "norms": 1}[behind]
    gated = [body.one[index], body.other[index]]
    by_hand = torch.stack([gate_derivatives(model, gated, x) for x in BATCHES])
    scores = gate_scores(model, graph, BATCHES, loss_of, behind)["0.one.0.weight"]
    assert torch.allclose(scores, by_hand.square().mean(0), rtol=1e-9)
    assert not torch.allclose(scores, by_hand.mean(0).square(), rtol=1e-3)


def test_the_variance_is_that_of_the_channel_where_it_is_read():
    model, graph = plain(4, 6)
    read = torch.cat([model[0](x) for x in BATCHES]).detach()
    by_hand = read.movedim(1, -1).flatten(0, -2).var(0, correction=0)
    scores = variance_scores(model, graph, BATCHES)["0.0.weight"]
    assert torch.allclose(scores, by_hand.float(), rtol=1e-5)  # float32 scores
    flat = torch.cat([model[:3](x) for x in BATCHES]).detach().var(0, correction=0)
    scores = variance_scores(model, graph, BATCHES)["1.0.weight"]
    assert torch.allclose(scores, flat.reshape(6, 16).mean(1).float(), rtol=1e-5)


def without_padding(groups, kernel=3):
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.Softplus())
    second = nn.Conv2d(6, 4, kernel, groups=groups, bias=False)
    side = 5 - kernel
    model = nn.Sequential(first, second, nn.ReLU(), nn.Flatten(), nn.Linear(4 * side**2, 5))
    model[0][1].bias.data.uniform_(-1, 1)
    model = model.double().eval()
    return model, dependency_graph(model, images())


@pytest.mark.parametrize("groups", [1, 2])
def test_channels_whose_gamma_is_0_go_without_loss_once_beta_is_folded(groups):
    model, graph = without_padding(groups)
    group = graph.groups["0.0.weight"]
    mask = torch.arange(group.size) > 0
    with torch.no_grad():
        model[0][1].weight[group.members[0].indices[~mask].flatten()] = 0
    masks = {"0.0.weight": mask}
    x = images(4, seed=9)
    assert torch.allclose(remove_keeping_means(model, graph, masks, BATCHES)(x), model(x))
    assert not torch.allclose(remove(model, graph, masks)(x), model(x), atol=1e-3)
    assert variance_scores(model, graph, BATCHES)["0.0.weight"].argmin() == 0


@pytest.mark.parametrize("groups", [1, 2])
def test_what_reads_folded_means_has_the_mean_outputs_that_it_had(groups):
    """With a kernel of 1; a larger one sees the borders less often than the middle."""
    model, graph = without_padding(groups, kernel=1)
    masks = {"0.0.weight": torch.arange(graph.groups["0.0.weight"].size) > 1}
    folded = masked(with_means_folded(model, graph, masks, BATCHES), graph, masks)
    means = [torch.cat([each[:2](x) for x in BATCHES]).mean((0, 2, 3)) for each in (model, folded)]
    assert torch.allclose(*means, rtol=1e-9)
    assert model[1].bias is None


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (norm_scales, "no norm has a scale for the channels of '0.weight'"),
        (
            lambda m, g: gate_scores(m, g, BATCHES, loss_of, "norms"),
            "no norm with parameters follows '0.weight'",
        ),
        (lambda m, g: gate_scores(m, g, [], loss_of), "at least one batch"),
        (lambda m, g: slimming_penalty(m), "Sequential has no batch norm with a scale"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, told):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)).double()
    with pytest.raises(ValueError, match=told):
        call(model, dependency_graph(model, images()))
