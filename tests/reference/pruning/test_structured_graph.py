"""Claims about which slices go together, each on a network small enough to do it by hand."""

import pytest
import torch
import torch.nn.functional as F
from random_networks import Does, Joined, conv, iadd, images, network
from torch import nn

from reference.pruning.structured.graph import dependency_graph


def lies(group):
    """{tensor and axis: indices of each unit}."""
    return {f"{each.tensor} {each.axis}": each.indices.tolist() for each in group.members}


def graph_of(*modules, x=None):
    x = images().float() if x is None else x
    model = nn.Sequential(*modules)
    model.eval()(x)  # gives lazy layers their sizes
    return dependency_graph(model, x)


def test_a_channel_is_a_row_a_norm_and_a_run_of_columns():
    graph = graph_of(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 5))
    (group,) = graph.groups.values()
    runs = [list(range(16)), list(range(16, 32))]
    one = [[0], [1]]
    assert lies(group) == {
        "0.weight 0": one, "0.bias 0": one, "1.running_mean 0": one, "1.running_var 0": one,
        "1.weight 0": one, "1.bias 0": one, "3.weight 1": runs,
    }  # fmt: skip
    assert graph.staying == {"3.weight": "it is an output of the network"}


@pytest.mark.parametrize("join", [torch.add, torch.mul, iadd, torch.maximum])
def test_what_meets_goes_together(join):
    model = Joined(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), join)
    (group,) = graph_of(model, nn.Conv2d(4, 2, 1)).groups.values()
    assert {each.tensor for each in group.makers} == {"0.one.weight", "0.other.weight"}


def test_concatenation_has_offsets_and_keeps_groups_apart():
    inner = Joined(nn.Conv2d(3, 2, 1), nn.Conv2d(3, 3, 1), lambda a, b: torch.cat([a, b], 1))
    outer = Joined(inner, nn.Conv2d(3, 2, 1), lambda a, b: torch.cat([b, a], 1))
    graph = graph_of(outer, nn.Conv2d(7, 1, 1))
    read = {name: lies(group)["1.weight 1"] for name, group in graph.groups.items()}
    assert read == {
        "0.one.one.weight": [[2], [3]],
        "0.one.other.weight": [[4], [5], [6]],
        "0.other.weight": [[0], [1]],
    }


def test_an_output_of_a_depthwise_convolution_belongs_to_its_input():
    graph = graph_of(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 4, 3, groups=2), nn.Conv2d(4, 1, 1))
    (group,) = graph.groups.values()
    assert lies(group)["1.weight 0"] == [[0, 1], [2, 3]]
    assert lies(group)["2.weight 1"] == [[0, 1], [2, 3]]
    assert "1.weight 1" not in lies(group)


def test_groups_of_a_convolution_give_up_the_same_places():
    graph = graph_of(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 3, groups=2), nn.Conv2d(4, 1, 1))
    before, after = graph.groups.values()
    assert lies(before)["0.weight 0"] == [[0, 3], [1, 4], [2, 5]]
    assert lies(before)["1.weight 1"] == [[0], [1], [2]]
    assert lies(after)["1.weight 0"] == [[0, 2], [1, 3]]
    assert after.channels == 2


@pytest.mark.parametrize("pad_first", [True, False])
def test_a_padded_shortcut_frees_the_channels_that_meet_no_zeros_only(pad_first):
    paths = [Does(lambda x: F.pad(x, (0, 0, 0, 0, 1, 1))), nn.Conv2d(2, 4, 1)]
    body = Joined(*(paths if pad_first else paths[::-1]), torch.add)
    grown = "1.other.weight" if pad_first else "1.one.weight"
    graph = graph_of(nn.Conv2d(3, 2, 1), body, nn.Conv2d(4, 1, 1))
    (group,) = graph.groups.values()
    assert lies(group)["0.weight 0"] == [[0], [1]]
    assert lies(group)[f"{grown} 0"] == [[1], [2]]
    assert "zeros of a padding" in graph.staying[grown]


def test_channels_of_a_group_norm_go_with_their_group():
    (group,) = graph_of(nn.Conv2d(3, 6, 1), nn.GroupNorm(3, 6), nn.Conv2d(6, 1, 1)).groups.values()
    assert lies(group)["1.weight 0"] == [[0, 1], [2, 3], [4, 5]]


def test_halves_of_a_chunk_lose_the_same():
    halves = Does(lambda x: torch.mul(*x.chunk(2, dim=1)))
    (group,) = graph_of(nn.Conv2d(3, 4, 1), halves, nn.Conv2d(2, 1, 1)).groups.values()
    assert lies(group)["0.weight 0"] == [[0, 2], [1, 3]]
    assert lies(group)["2.weight 1"] == [[0], [1]]


def test_an_excitation_ties_its_gates_to_what_they_multiply():
    graph = dependency_graph(network(["excitation", "conv"], "mean"), images())
    group = graph.groups["0.0.weight"]
    assert {"1.excite.weight 0", "1.squeeze.weight 1", "2.0.weight 1"} <= lies(group).keys()
    assert graph.groups["1.squeeze.weight"].size == 3


def test_one_channel_that_many_are_multiplied_by_stays_and_ties_none_of_them():
    attention = Joined(nn.Identity(), nn.Conv2d(4, 1, 1), torch.mul)
    graph = graph_of(nn.Conv2d(3, 4, 1), attention, nn.Conv2d(4, 2, 1))
    assert {name: group.size for name, group in graph.groups.items()} == {"0.weight": 4}
    assert "spread over many channels" in graph.staying["1.other.weight"]


def test_a_table_of_words_loses_width():
    model = nn.Sequential(nn.Embedding(9, 6), nn.ReLU(), nn.Linear(6, 2))
    graph = dependency_graph(model, torch.arange(6).reshape(2, 3))
    assert list(lies(graph.groups["0.weight"])) == ["0.weight 1", "2.weight 1"]


def test_arguments_by_name_are_followed():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, first, second):
            return {"logits": self.two(self.one(first + second))}

    graph = dependency_graph(Named(), {"first": torch.ones(1, 4), "second": torch.ones(1, 4)})
    assert list(graph.groups) == ["one.weight"]
    assert graph.staying == {"two.weight": "it is an output of the network"}


def test_inputs_are_never_cut():
    graph = graph_of(Joined(nn.Identity(), nn.Conv2d(3, 3, 1), torch.add), nn.Conv2d(3, 1, 1))
    assert not graph.groups
    assert graph.staying["0.other.weight"] == "it meets an input or a constant"


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x: x.view(2, 4, 16), "size written in the code"),
        (lambda x: x.reshape(-1, 64), "size written in the code"),
        (lambda x: x.softmax(1), "a value is computed over them"),
        (F.normalize, "a value is computed over them"),
        (lambda x: x.mean(1, keepdim=True).expand(-1, 4, -1, -1), "computed over them"),
        (lambda x: x[:, :2], "taken by their number"),
        (lambda x: x[:, torch.tensor([3, 1])], "taken by their number"),
        (lambda x: x.split(1, dim=1)[0], "split at a number"),
        (lambda x: x.unbind(1)[0].unsqueeze(1), "split at a number"),
        (lambda x: x + torch.arange(4.0).reshape(4, 1, 1), "an input or a constant"),
        (lambda x: F.layer_norm(x, x.shape[1:]), "takes its statistics over them"),
        (lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4)), "an input or a constant"),
        (F.instance_norm, "norm without parameters"),
        (lambda x: F.group_norm(x, 2), "norm without parameters"),
        (lambda x: F.conv2d(x, torch.ones(2, 4, 1, 1)), "is computed"),
        (lambda x: F.pad(x, (0, 0, 0, 0, 2, 2), mode="constant")[:, 3:5], "by their number"),
        (lambda x: x.permute(0, 2, 3, 1) @ torch.ones(4, 4), None),
    ],
)
def test_channels_stay_where_their_number_or_their_sum_counts(function, why):
    modules = (nn.Conv2d(3, 4, 1), Does(function))
    if why is None:
        with pytest.raises(ValueError, match=r"through '1' \(Does\): there is no rule for matmul"):
            graph_of(*modules)
        return
    graph = graph_of(*modules, nn.Flatten(), nn.LazyLinear(2))
    assert "0.weight" not in graph.groups
    assert why in graph.staying["0.weight"]


def test_a_weight_that_something_is_computed_from_keeps_its_sizes():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 4)

        def forward(self, x):
            return F.linear(self.second(self.first(x)), self.first.weight * 2)

    graph = dependency_graph(Tied(), torch.ones(2, 4))
    assert not graph.groups
    assert "computed from it" in graph.staying["first.weight"]


class Branching(nn.Module):
    def __init__(self, asks):
        super().__init__()
        self.conv, self.asks = nn.Conv2d(3, 4, 1), asks

    def forward(self, x):
        x = self.conv(x)
        return x if self.asks(x) else -x


@pytest.mark.parametrize(
    "asks",
    [
        lambda x: x.mean((0, 2, 3)).tolist()[0] > 0,
        lambda x: bool((x.mean((0, 2, 3)) > 0).equal(torch.ones(4, dtype=torch.bool))),
    ],
)
def test_values_that_decide_what_follows_are_refused(asks):
    with pytest.raises(ValueError, match=r"Branching: .* decides what follows"):
        dependency_graph(Branching(asks), images().float())


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (nn.ConvTranspose2d(4, 4, 2), r"'0.block' \(ConvTranspose2d\).*conv_transpose2d\(\)"),
        (nn.PixelShuffle(2), r"'0.block' \(PixelShuffle\).*pixel_shuffle\(\)"),
        (Does(torch.fft.fft2), r"'0.block' \(Does\).*fft_fft2\(\)"),
        (Does(lambda x: torch.einsum("bchw->bc", x)), r"einsum\(\)"),
    ],
)
def test_an_operation_without_a_rule_is_named_with_its_place(layer, told):
    model = nn.Sequential(nn.Sequential())
    model[0].add_module("conv", nn.Conv2d(3, 4, 1))
    model[0].add_module("block", layer)
    with pytest.raises(ValueError, match=told):
        dependency_graph(model, images().float())


def test_writing_into_a_part_of_a_value_is_refused():
    def write(x):
        x[:, :, 0] = 0
        return x

    with pytest.raises(ValueError, match=r"no rule for setitem\(\)"):
        graph_of(nn.Conv2d(3, 4, 1), Does(write))


def test_an_unknown_operation_before_the_first_channel_is_no_obstacle():
    graph = graph_of(Does(lambda x: torch.fft.fft2(x).real), conv(3, 4), nn.Conv2d(4, 1, 1))
    assert list(graph.groups) == ["1.0.weight"]


def test_the_network_is_as_it_was_after_a_refusal():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.PixelShuffle(2)).train()
    with pytest.raises(ValueError, match="pixel_shuffle"):
        dependency_graph(model, images().float())
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("example", [torch.ones(0, 3, 4, 4), {"x": torch.ones(0, 3, 4, 4)}])
def test_an_empty_example_is_refused(example):
    with pytest.raises(ValueError, match="expected at least one, got none"):
        dependency_graph(nn.Conv2d(3, 4, 1), example)
