import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import BLOCKS, conv, images, network
from torch import nn

from reference.pruning.structured.channels import STEPS, by_group, overall, within_budget
from reference.pruning.structured.costs import costs
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.groups import Graph
from reference.pruning.structured.importance import filter_norms, normalised, random_scores
from reference.pruning.structured.remove import remove

RATIO = st.floats(0, 0.999)


def drawn(blocks, seed):
    model = network(blocks, "mean", seed)
    graph = dependency_graph(model, images())
    return model, graph, random_scores(graph, torch.Generator().manual_seed(seed))


def chain(*widths):
    torch.manual_seed(0)
    sizes = zip((3, *widths), widths, strict=False)
    model = nn.Sequential(*(conv(a, b) for a, b in sizes), nn.Conv2d(widths[-1], 2, 1)).eval()
    graph = dependency_graph(model, images().float())
    return model, graph, normalised(filter_norms(model, graph), "mean")


@settings(max_examples=40)
@given(st.lists(st.sampled_from(sorted(BLOCKS)), max_size=4), st.integers(0, 99), RATIO)
def test_whatever_is_chosen_leaves_a_network(blocks, seed, ratio):
    model, graph, scores = drawn([*blocks, "conv"], seed)
    for masks in (by_group(graph, scores, ratio), overall(graph, scores, ratio)):
        assert remove(model, graph, masks)(images()).shape == model(images()).shape


@given(RATIO)
def test_the_kept_are_no_lower_than_the_removed(ratio):
    _, graph, scores = chain(16, 24)
    for masks in (by_group(graph, scores, ratio), overall(graph, scores, ratio)):
        for name, mask in masks.items():
            if not mask.all():
                assert scores[name][mask].min() >= scores[name][~mask].max()


def test_every_group_loses_its_share():
    _, graph, scores = chain(16, 24)
    assert widths(by_group(graph, scores, 0.25)) == [12, 18]
    assert widths(by_group(graph, scores, {"1.0.weight": 0.5})) == [16, 12]
    assert widths(by_group(graph, scores, 0.999)) == [1, 1]


def test_overall_the_count_is_exact_and_layers_lose_by_their_scores():
    _, graph, scores = chain(16, 24)
    assert sum(widths(overall(graph, scores, 0.3))) == 28
    scores["1.0.weight"] = scores["1.0.weight"] + 100
    assert widths(overall(graph, scores, 0.25)) == [6, 24]


@pytest.mark.parametrize("least", [1, 3])
def test_no_layer_falls_below_the_least(least):
    _, graph, scores = chain(16, 24)
    scores["1.0.weight"] = scores["1.0.weight"] + 100
    assert widths(overall(graph, scores, 0.5, least=least)) == [least, 20 - least]
    assert widths(overall(graph, scores, 0.999, least=least)) == [least, least]


@given(RATIO, st.sampled_from([1, 4, 8, 16]))
def test_a_narrower_width_is_a_multiple(ratio, multiple):
    _, graph, scores = chain(20, 32)
    for masks in (
        by_group(graph, scores, ratio, multiple),
        overall(graph, scores, ratio, multiple),
    ):
        for kept, size in zip(widths(masks), (20, 32), strict=True):
            assert kept == size or kept % multiple == 0
            assert kept > 0


def test_nothing_is_rounded_away_where_nothing_is_removed():
    _, graph, scores = chain(20, 12)
    assert widths(by_group(graph, scores, 0.0, multiple=8)) == [20, 12]
    assert widths(overall(graph, scores, 0.0, multiple=8)) == [20, 12]


def test_a_multiple_is_of_channels_where_a_unit_is_several():
    grouped = nn.Conv2d(16, 32, 1, groups=4)
    model = nn.Sequential(nn.Conv2d(3, 16, 1), grouped, nn.Conv2d(32, 2, 1))
    graph = dependency_graph(model, images().float())
    scores = filter_norms(model, graph)
    pruned = remove(model, graph, by_group(graph, scores, {"1.weight": 0.3}, multiple=8))
    assert pruned[1].out_channels == 24  # 22.4 channels would be kept
    assert pruned[1].groups == 4


@pytest.mark.parametrize("choose", [by_group, overall])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.2])
@pytest.mark.parametrize("kind", ["macs", "parameters"])
def test_a_budget_is_met_with_the_smallest_ratio(choose, share, kind):
    model, graph, scores = chain(16, 24, 16)
    asked = []

    def at(ratio):
        asked.append(ratio)
        return choose(graph, scores, ratio)

    def cost(masks):
        return getattr(costs(remove(model, graph, masks), images().float()), kind)

    whole = getattr(costs(model, images().float()), kind)
    masks = within_budget(at, cost, share * whole)
    assert cost(masks) <= share * whole
    assert cost(choose(graph, scores, asked[-1] - 1 / STEPS)) > share * whole
    assert len(asked) < 15


def test_a_budget_that_is_met_already_costs_nothing():
    _, graph, scores = chain(8)
    masks = within_budget(lambda r: by_group(graph, scores, r), lambda m: 1.0 * sum(widths(m)), 8.0)
    assert widths(masks) == [8]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda g, s: by_group(g, s, {"0.0.weight": 1.0}), "1.0 would empty '0.0.weight'.*16"),
        (lambda g, s: by_group(g, s, {"0.0.weight": 0.97}), "0.97 would empty '0.0.weight'"),
        (lambda g, s: by_group(g, s, {"9": 0.5}), "ratios name no group: 9"),
        (lambda g, s: by_group(g, s, {"0.0.weight": -0.1}), "within 0 and 1, got -0.1"),
        (lambda g, s: by_group(g, s, 1.0), "a ratio of 1 would empty every layer"),
        (lambda g, s: overall(g, s, 1.0), "a ratio of 1 would empty every layer"),
        (lambda g, s: overall(g, s, 1.5), "within 0 and 1, got 1.5"),
        (lambda g, s: overall(g, s, 0.5, least=0), "least must be at least 1.*got 0"),
        (lambda g, s: overall(g, s, 0.5, multiple=0), "multiple must be at least 1, got 0"),
        (lambda g, s: overall(g, {"0.0.weight": s["0.0.weight"]}, 0.5), "graph: 1.0.weight"),
        (lambda g, s: by_group(g, s | {"1.0.weight": torch.ones(3)}, 0.5), "graph: 1.0.weight"),
        (lambda g, s: by_group(Graph({}, {"a": "why"}), {}, 0.5), r"no channels .*\(a: why\)"),
        (
            lambda g, s: within_budget(
                lambda r: by_group(g, s, r), lambda m: 1.0 * sum(widths(m)), 1.0
            ),
            "nothing costs 1 or less; the least to be had is 2",
        ),
    ],
)
def test_what_would_leave_no_network_is_refused(call, told):
    _, graph, scores = chain(16, 24)
    with pytest.raises(ValueError, match=told):
        call(graph, scores)


def widths(masks):
    return [int(mask.sum()) for mask in masks.values()]
