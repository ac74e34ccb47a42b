"""Claims about removal. Tolerances of 1e-9 are float64's over sums of some hundred products."""

import copy

import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import BLOCKS, HEADS, SILENT, conv, images, network
from torch import nn

from labkit.export import to_onnx
from labkit.models import EfficientNetLiteSpec, MlpSpec, ResNetSpec, build
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.groups import tensor_of
from reference.pruning.structured.remove import masked, remove, reordered

GRAPHS = settings(max_examples=80)
some_blocks = st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=5)
silent_blocks = st.lists(st.sampled_from(sorted(SILENT)), min_size=1, max_size=5)
some_head = st.sampled_from(sorted(HEADS))
some_seed = st.integers(0, 999)


def drawn_masks(graph, seed, share=0.5):
    """Random, and one unit of each group at least."""
    draws = torch.Generator().manual_seed(seed)
    masks = {}
    for name, group in graph.groups.items():
        masks[name] = torch.rand(group.size, generator=draws) > share
        masks[name][int(torch.randint(group.size, (1,), generator=draws))] = True
    return masks


def close(one, other):
    return torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@GRAPHS
@given(some_blocks, some_head, some_seed)
def test_removing_is_masking_in_any_network(blocks, head, seed):
    model, x = network(blocks, head, seed), images()
    graph = dependency_graph(model, x)
    masks = drawn_masks(graph, seed)
    pruned = remove(model, graph, masks)
    assert close(pruned(x), masked(model, graph, masks)(x))
    lost = any(not mask.all() for mask in masks.values())
    assert (parameters(pruned) < parameters(model)) == lost


@GRAPHS
@given(silent_blocks, some_head, some_seed)
def test_removing_is_a_gate_of_zero_behind_every_norm(blocks, head, seed):
    """Here all that makes or carries a channel is silenced, and readers keep their columns."""
    model, x = network(blocks, head, seed), images()
    graph = dependency_graph(model, x)
    masks = drawn_masks(graph, seed)
    silenced = copy.deepcopy(model)
    with torch.no_grad():
        for name, mask in masks.items():
            for each in graph.groups[name].members:
                if each.kind != "reads":
                    gone = each.indices[~mask].flatten()
                    tensor_of(silenced, each.tensor).index_fill_(each.axis, gone, 0)
    assert close(remove(model, graph, masks)(x), silenced(x))


@settings(max_examples=60)
@given(some_blocks, some_head, some_seed)
def test_units_of_a_group_can_change_places(blocks, head, seed):
    model, x = network(blocks, head, seed), images()
    graph = dependency_graph(model, x)
    draws = torch.Generator().manual_seed(seed)
    orders = {name: torch.randperm(g.size, generator=draws) for name, g in graph.groups.items()}
    assert close(reordered(model, graph, orders)(x), model(x))


@settings(max_examples=60)
@given(some_blocks, some_head, some_seed)
def test_removing_nothing_changes_no_bit(blocks, head, seed):
    model, x = network(blocks, head, seed), images()
    graph = dependency_graph(model, x)
    whole = {name: torch.ones(group.size, dtype=torch.bool) for name, group in graph.groups.items()}
    found = remove(model, graph, whole)
    assert torch.equal(found(x), model(x))
    assert all(
        torch.equal(a, b)
        for a, b in zip(found.state_dict().values(), model.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("name", sorted(set(BLOCKS) - {"layer norm", "softmax"}))
def test_every_block_has_channels_to_lose(name):
    """Else the properties above would hold of nothing; and they hold of each block by itself."""
    model, x = network([name, "conv"], "mean"), images()
    graph = dependency_graph(model, x)
    assert all(group.size > 1 for group in list(graph.groups.values())[:1])
    masks = drawn_masks(graph, 0)
    pruned = remove(model, graph, masks)
    assert not close(pruned(x), model(x))
    assert close(pruned(x), masked(model, graph, masks)(x))


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (ResNetSpec(width=8), (2, 3, 16, 16)),
        (ResNetSpec(width=8, batch_norm=False), (2, 3, 16, 16)),
        (EfficientNetLiteSpec(width=0.25, depth=0.5, classes=10), (2, 3, 33, 33)),
        (MlpSpec(in_features=20, hidden=(12, 9)), (2, 20)),
    ],
    ids=["resnet", "folded resnet", "efficientnet", "mlp"],
)
def test_removing_is_masking_in_the_networks_of_the_course(spec, shape):
    model, x = build(spec).double().eval(), torch.randn(shape, dtype=torch.float64)
    graph = dependency_graph(model, x)
    masks = drawn_masks(graph, 1)
    pruned = remove(model, graph, masks)
    assert close(pruned(x), masked(model, graph, masks)(x))
    assert list(graph.staying) == [[*dict(model.named_modules())][-1] + ".weight"]
    assert parameters(pruned) < 0.6 * parameters(model)


def test_a_pruned_resnet_runs_in_onnx_runtime(tmp_path):
    model = build(ResNetSpec(width=8)).eval()
    x = torch.randn(3, 3, 32, 32)
    graph = dependency_graph(model, x)
    pruned = remove(model, graph, drawn_masks(graph, 2))
    whole, small = (to_onnx(each, tmp_path / f"{i}") for i, each in enumerate((model, pruned)))
    session = onnxruntime.InferenceSession(str(small), providers=["CPUExecutionProvider"])
    answer = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
    assert torch.allclose(answer, pruned(x), atol=1e-5)  # float32, another order of sums
    assert small.stat().st_size < whole.stat().st_size / 2


def test_the_model_is_left_as_it_was():
    model, x = network(["residual", "depthwise", "group norm"], "flatten"), images()
    model.train()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    graph = dependency_graph(model, x)
    masks = drawn_masks(graph, 0)
    remove(model, graph, masks)
    masked(model, graph, masks)
    reordered(model, graph, {name: torch.arange(g.size) for name, g in graph.groups.items()})
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in model.modules())


def test_modules_say_their_new_sizes():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8), nn.Conv2d(8, 16, 1, groups=8),
        nn.GroupNorm(8, 16), nn.Flatten(), nn.Linear(64, 2),
    )  # fmt: skip
    graph = dependency_graph(model, torch.randn(1, 3, 4, 4))
    (name,) = graph.groups
    pruned = remove(model, graph, {name: torch.arange(8) < 3})
    first, norm, prelu, depthwise, group_norm, _, head = pruned
    assert (first.out_channels, norm.num_features, prelu.num_parameters) == (3, 3, 3)
    assert (depthwise.in_channels, depthwise.out_channels, depthwise.groups) == (3, 6, 3)
    assert (group_norm.num_channels, group_norm.num_groups) == (6, 3)
    assert (head.in_features, head.out_features) == (24, 2)
    again = dependency_graph(pruned, torch.randn(1, 3, 4, 4))
    assert [group.size for group in again.groups.values()] == [3]


def test_one_input_channel_is_no_depthwise_convolution():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 1))
    graph = dependency_graph(model, torch.ones(1, 1, 4, 4))
    pruned = remove(model, graph, {"0.weight": torch.arange(4) < 3})
    assert (pruned[0].groups, pruned[0].in_channels, pruned[0].out_channels) == (1, 1, 3)


@pytest.mark.parametrize("keep", [1, 2])
def test_groups_of_a_convolution_keep_dividing_its_channels(keep):
    model = nn.Sequential(
        conv(3, 12), nn.Conv2d(12, 8, 3, groups=4), nn.Flatten(), nn.Linear(32, 2)
    )
    graph = dependency_graph(model, images().float())
    sizes = {name: group.size for name, group in graph.groups.items()}
    assert sizes == {"0.0.weight": 3, "1.weight": 2}
    pruned = remove(model, graph, {name: torch.arange(n) < keep for name, n in sizes.items()})
    assert (pruned[1].groups, pruned[1].in_channels, pruned[1].out_channels) == (
        4, 4 * keep, 4 * keep,
    )  # fmt: skip
    pruned(images().float())


def test_new_parameters_are_as_trainable_and_as_precise_as_the_old():
    model = network(["conv"], "mean").to(torch.bfloat16)
    model[0][0].weight.requires_grad_(False)
    graph = dependency_graph(model, images().to(torch.bfloat16))
    pruned = remove(model, graph, drawn_masks(graph, 0))
    for name, each in pruned.named_parameters():
        assert each.requires_grad == (name != "0.0.weight")
        assert each.dtype == torch.bfloat16
        assert each.is_contiguous()
        assert each.is_leaf


def test_a_pruned_network_can_be_trained_and_loaded():
    model, x = network(["residual", "excitation"], "mean"), images()
    graph = dependency_graph(model, x)
    masks = drawn_masks(graph, 0)
    pruned, twin = remove(model, graph, masks), remove(model, graph, masks)
    optimizer = torch.optim.SGD(pruned.parameters(), lr=0.1, momentum=0.9)
    pruned(x).square().sum().backward()
    optimizer.step()
    assert not close(pruned(x), twin(x))
    twin.load_state_dict(pruned.state_dict())
    assert torch.equal(pruned(x), twin(x))


def test_tied_weights_stay_tied():
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    second.weight = first.weight
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), first, nn.ReLU(), second, nn.Linear(6, 2))
    x = torch.randn(3, 4)
    graph = dependency_graph(model, x)
    masks = drawn_masks(graph, 3)
    pruned = remove(model, graph, masks)
    assert pruned[2].weight is pruned[4].weight
    assert pruned[2].weight.shape[0] == pruned[2].weight.shape[1] < 6
    assert torch.allclose(pruned(x), masked(model, graph, masks)(x), atol=1e-6)  # float32


def test_a_table_tied_to_the_head_keeps_its_words_and_loses_width():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(11, 8), nn.Linear(8, 11, bias=False)
            self.head.weight = self.words.weight

        def forward(self, ids):
            return self.head(self.words(ids))

    model, ids = Tied().double(), torch.arange(10).reshape(2, 5)
    graph = dependency_graph(model, ids)
    masks = {"words.weight": torch.arange(8) % 3 > 0}
    pruned = remove(model, graph, masks)
    assert pruned.head.weight is pruned.words.weight
    assert (pruned.words.embedding_dim, pruned.head.in_features) == (5, 5)
    assert (pruned.words.num_embeddings, pruned.head.out_features) == (11, 11)
    kept = model.words.weight[:, masks["words.weight"]]
    assert close(pruned(ids), kept[ids] @ kept.T)


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        ({"0.0.weight": torch.zeros(4, dtype=torch.bool)}, "'0.0.weight' removes all 4 units"),
        ({"0.0.weight": torch.ones(3, dtype=torch.bool)}, "expected 4 times True or False"),
        ({"0.0.weight": torch.ones(4)}, "is torch.float32"),
        ({"9": torch.ones(4, dtype=torch.bool)}, "no group '9'; the groups are 0.0.weight"),
    ],
)
@pytest.mark.parametrize("take", [remove, masked])
def test_masks_that_leave_no_network_are_refused(take, masks, told):
    model = network([], "mean")
    with pytest.raises(ValueError, match=told):
        take(model, dependency_graph(model, images()), masks)


def test_what_is_no_order_is_refused():
    model = network([], "mean")
    with pytest.raises(ValueError, match="each of 4 units once"):
        reordered(model, dependency_graph(model, images()), {"0.0.weight": torch.zeros(4).long()})


def parameters(model):
    return sum(each.numel() for each in model.parameters())
