"""Growing a network without changing what it computes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformer_zoo import NAMES, batch, logits
from transformer_zoo import net as transformer

from labkit.models.mlp import Mlp
from labkit.models.resnet import Block, ResNet
from labkit.models.specs import MlpSpec, ResNetSpec
from reference.distillation.progressive.deepen import (
    deepen_transformer,
    identity_conv,
    identity_linear,
    insert,
    silent,
    undoing_norm,
)
from reference.distillation.progressive.preserved import change
from reference.distillation.progressive.widen import widen, widen_neurons
from reference.pruning.structured.architecture import architecture, block_widths
from reference.pruning.structured.graph import dependency_graph

EXACT = 1e-6  # of the largest output, in float64: Net2Net is exact but for rounding


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Float64, every parameter and every statistic random."""
    model, draw = model.double(), generator(seed)
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.3 * torch.randn(each.shape, generator=draw, dtype=torch.float64))
        for name, each in model.named_buffers():
            if name.endswith("running_mean"):
                each.copy_(torch.randn(each.shape, generator=draw, dtype=torch.float64))
            if name.endswith("running_var"):
                each.copy_(torch.rand(each.shape, generator=draw, dtype=torch.float64) + 0.5)
    return model


def mlp(seed: int = 0) -> nn.Module:
    return shaken(Mlp(MlpSpec(6, (5, 4), 3)), seed)


def resnet(seed: int = 0, batch_norm: bool = True) -> nn.Module:
    return shaken(ResNet(ResNetSpec(4, 2, in_channels=2, classes=3, batch_norm=batch_norm)), seed)


def cnn(seed: int = 0) -> nn.Module:
    """With a depthwise convolution, and a run of columns for each channel after the flattening."""
    layers = (
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Sigmoid(),
        nn.Conv2d(4, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.Tanh(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3 * 16, 3),
    )  # fmt: skip
    return shaken(nn.Sequential(*layers), seed)


class Concatenated(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 4, 1)
        self.norm, self.head = nn.BatchNorm2d(7), nn.Linear(7, 2)

    def forward(self, x):
        both = torch.cat([self.one(x), self.two(x)], 1)
        return self.head(F.relu(self.norm(both)).mean((2, 3)))


def images(seed: int = 1) -> torch.Tensor:
    return torch.randn(3, 2, 8, 8, generator=generator(seed), dtype=torch.float64)


def rows(seed: int = 1) -> torch.Tensor:
    return torch.randn(4, 6, generator=generator(seed), dtype=torch.float64)


def grouped(seed: int = 0) -> nn.Module:
    layers = (
        nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6),
        nn.Conv2d(6, 4, 1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    return shaken(nn.Sequential(*layers), seed)


NETS = {
    "mlp": (mlp, rows),
    "cnn": (cnn, images),
    "grouped": (grouped, images),
    "resnet": (resnet, images),
    "folded resnet": (lambda seed: resnet(seed, batch_norm=False), images),
    "concatenated": (lambda seed: shaken(Concatenated(), seed), images),
}
each_net = pytest.mark.parametrize("kind", NETS)


@each_net
@settings(max_examples=4)
@given(st.data())
def test_a_wider_network_computes_the_same(kind, data):
    make, inputs = NETS[kind]
    seed = data.draw(st.integers(0, 1000))
    model, example = make(seed), inputs()
    groups = dependency_graph(model, example).groups
    sizes = {
        name: group.size + data.draw(st.integers(0, 2 * group.size))
        for name, group in groups.items()
    }
    wide = widen(model, example, sizes, generator(seed))
    assert change(model, wide, inputs(seed + 2)) < EXACT
    found = dependency_graph(wide, example).groups
    assert sorted(each.size for each in found.values()) == sorted(sizes.values())


@each_net
def test_a_wider_network_computes_the_same_in_training_too(kind):
    make, inputs = NETS[kind]
    model, example = make(0), inputs()
    names = dependency_graph(model, example).groups
    wide = widen(model, example, {name: 2 * names[name].size + 1 for name in names}, generator())
    torch.testing.assert_close(model.train()(example), wide.train()(example))


def test_copies_are_rows_of_old_units_and_columns_share_what_they_were():
    model, example = mlp(), rows()
    wide = widen(model, example, {"layers.0.weight": 8}, generator())
    old, new = model.layers[0].weight, wide.layers[0].weight
    origin = [(old == row).all(1).nonzero().item() for row in new]
    counts = torch.bincount(torch.tensor(origin), minlength=5)
    assert origin == sorted(origin)
    assert counts.sum() == 8
    assert counts.min() == 1
    torch.testing.assert_close(
        wide.layers[1].weight, model.layers[1].weight[:, origin] / counts[origin]
    )
    assert wide.layers[0].out_features == wide.layers[1].in_features == 8


def test_the_network_that_is_grown_is_left_alone():
    model, example = resnet(), images()
    before = copy.deepcopy(model.state_dict())
    names = dependency_graph(model, example).groups
    widen(model, example, {name: names[name].size + 2 for name in names}, generator(), noise=0.1)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert model.training


def test_noise_moves_copies_alone_and_so_tells_them_apart():
    model, example = mlp(), rows()
    sizes = {"layers.0.weight": 9}
    exact, noisy = (
        widen(model, example, sizes, generator(), noise=noise).layers[0].weight
        for noise in (0.0, 0.01)
    )
    moved = (exact != noisy).any(1)
    assert moved.sum() == 9 - 5
    assert len(noisy.unique(dim=0)) == 9 > len(exact.unique(dim=0)) == 5
    assert (noisy - exact).abs().max() < 6 * 0.01 * model.layers[0].weight.std()  # 6 deviations


def test_copies_that_are_read_alike_learn_alike_without_noise():
    model, example = mlp(), rows()
    wide = widen(model, example, {"layers.0.weight": 10}, generator())
    wide(example).square().sum().backward()
    gradient = wide.layers[0].weight.grad
    values = wide.layers[0].weight
    for row in range(9):
        if torch.equal(values[row], values[row + 1]):
            torch.testing.assert_close(gradient[row], gradient[row + 1])


def test_channels_that_a_layer_norm_sees_cannot_be_widened():
    model = nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, 3))
    with pytest.raises(ValueError, match=r"there is no group '0.weight'; the groups are none"):
        widen(shaken(model), rows(), {"0.weight": 6}, generator())


def test_copies_that_come_into_another_group_are_refused():
    """The norm's groups are copied as wholes, the convolution's channel by channel."""
    layers = nn.Conv2d(2, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 6, 3, groups=2)
    model = shaken(nn.Sequential(*layers, nn.Conv2d(6, 1, 1)))
    with pytest.raises(ValueError, match="groups of a convolution or a norm would mix"):
        widen(model, images(), {"0.weight": 3}, generator())


@pytest.mark.parametrize("family", NAMES)
@settings(max_examples=8)
@given(seed=st.integers(0, 1000), more=st.integers(0, 15))
def test_wider_ffns_of_transformers_compute_the_same(family, seed, more):
    model = transformer(family)
    blocks = architecture(model).blocks
    size = block_widths(model, blocks[0]).ffn + more
    wide = widen_neurons(model, {blocks[0].name: size}, generator(seed))
    given_batch = batch(family, seed=seed)
    torch.testing.assert_close(logits(model, given_batch), logits(wide, given_batch))
    assert block_widths(wide, architecture(wide).blocks[0]).ffn == size


def test_an_identity_layer_inside_a_perceptron_changes_nothing():
    model = mlp()
    deep = insert(model, "layers", 1, [identity_linear(5).double()], rows())
    assert len(deep.layers) == 4
    assert len(model.layers) == 3
    assert change(model, deep, rows(5)) < EXACT


def test_an_identity_behind_tanh_or_before_the_activation_is_refused():
    model = shaken(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)))
    with pytest.raises(ValueError, match="outputs differ by"):
        insert(model, "", 2, [identity_linear(4).double(), nn.Tanh()], rows())
    deep = insert(model, "", 2, [identity_linear(4).double()], rows())  # without one it is none
    assert change(model, deep, rows(5)) < EXACT


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_an_identity_convolution_and_a_norm_that_undoes_change_nothing(kernel):
    model = cnn().eval()
    with torch.no_grad():
        entering = model[:3](images())
    new = [identity_conv(4, kernel, bias=False).double(), undoing_norm(entering), nn.ReLU()]
    deep = insert(model, "", 3, new, images())
    assert change(model, deep, images(7)) < EXACT


def test_an_undoing_norm_gives_back_what_entered_in_training_too():
    entering = images()
    norm = undoing_norm(entering)
    torch.testing.assert_close(norm.train()(entering), entering)
    torch.testing.assert_close(undoing_norm(entering).eval()(images(3)), images(3))


@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_residual_block_whose_sum_is_the_shortcut_changes_nothing(batch_norm):
    model = resnet(batch_norm=batch_norm)
    writer = "second.norm" if batch_norm else "second.conv"
    block = silent(shaken(Block(4, 4, 1, batch_norm)), [writer])
    deep = insert(model, "blocks", 2, [block], images())
    assert change(model, deep, images(5)) < EXACT
    deep.train()(images()).square().sum().backward()
    learns = [each.grad is not None and each.grad.any() for each in block.second.parameters()]
    assert any(learns)


@pytest.mark.parametrize("family", ["vit", "gpt2", "llama", "text"])
def test_a_deeper_transformer_computes_the_same(family):
    model = transformer(family)
    deep = deepen_transformer(model, [0, 1], batch(family))
    assert len(architecture(deep).blocks) == 4
    torch.testing.assert_close(
        logits(model, batch(family, seed=4)), logits(deep, batch(family, seed=4))
    )
    assert len({id(each) for each in deep.parameters()}) > len(list(model.parameters()))


def test_only_the_new_layers_of_a_deeper_transformer_are_silent():
    deep = deepen_transformer(transformer("llama"), [1], batch("llama"))
    silent_ones = [
        not any(deep.get_submodule(name).weight.any() for name in block.writers)
        for block in architecture(deep).blocks
    ]
    assert silent_ones == [False, False, True]


def test_bert_normalises_behind_its_sums_and_is_refused():
    with pytest.raises(ValueError, match="norms stand behind the sums"):
        deepen_transformer(transformer("bert"), [0], batch("bert"))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: widen(mlp(), rows(), {"layers.9.weight": 9}, generator()), "layers.9.weight"),
        (lambda: widen(mlp(), rows(), {"layers.0.weight": 4}, generator()), "widened to 4"),
        (lambda: widen(mlp(), rows(), {}, generator(), noise=-1.0), "noise must be at least 0"),
        (lambda: widen_neurons(transformer("gpt2"), {"h.9": 20}, generator()), "'h.9'"),
        (
            lambda: widen_neurons(transformer("gpt2"), {"transformer.h.0": 2}, generator()),
            "10 units and cannot be widened to 2",
        ),
        (lambda: identity_conv(4, 2), "odd kernel to be an identity, got 2"),
        (lambda: insert(mlp(), "layers.0", 0, [], rows()), "'layers.0' is Linear"),
        (lambda: insert(mlp(), "layers", 4, [], rows()), "places 0 to 3, got 4"),
        (lambda: silent(mlp(), []), "none is named"),
        (lambda: silent(mlp(), ["layers"]), "'layers' is ModuleList"),
        (lambda: deepen_transformer(transformer("vit"), [2], batch("vit")), "no layer 2"),
    ],
)
def test_what_cannot_be_grown_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
