"""Claims about networks that hold their subnets as slices, on labkit's residual network."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from labkit.models.resnet import ResNet
from labkit.models.specs import ResNetSpec
from reference.pruning.search.moves import sampled
from reference.pruning.search.residual import residual_supernet
from reference.pruning.search.sandwich import sandwich_backward_
from reference.pruning.search.sorting import channel_norms, sorted_channels
from reference.pruning.search.space import Choice
from reference.pruning.search.supernet import Depth, Slot, Supernet, Width, extracted


def network(batch_norm: bool = True, seed: int = 0) -> ResNet:
    """Eight channels, two blocks a stage, and norms that do something."""
    torch.manual_seed(seed)
    found = ResNet(ResNetSpec(width=8, blocks=2, batch_norm=batch_norm))
    for module in found.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.bias, 0.0, 0.2)
            nn.init.normal_(module.running_mean, 0.0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return found.eval()


NORMED, FOLDED = residual_supernet(network()), residual_supernet(network(batch_norm=False))
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([3, 7])


def every_size(supernet: Supernet):
    least = {depth.name: 0 for depth in supernet.depths}
    return supernet.space(
        {name: tuple(range(least.get(name, 1), most + 1)) for name, most in supernet.most.items()}
    )


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some(supernet: Supernet, seed: int):
    return sampled(every_size(supernet), drawn(seed))


def whole(supernet: Supernet, **sizes: int):
    return {**supernet.most, **sizes}


@pytest.mark.parametrize("supernet", [NORMED, FOLDED], ids=["batch norm", "folded"])
@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_what_is_taken_out_says_what_the_supernet_says_at_that_size(supernet, seed):
    candidate = some(supernet, seed)
    with torch.no_grad():
        inside = supernet.answer(candidate, IMAGES)
        assert torch.equal(extracted(supernet, candidate).eval()(IMAGES), inside)


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_every_tensor_of_a_subnet_is_the_first_part_of_the_supernets(seed):
    subnet, state = extracted(NORMED, some(NORMED, seed)), NORMED.network.state_dict()
    for name, tensor in subnet.state_dict().items():
        first = tuple(slice(0, size) for size in tensor.shape)
        assert torch.equal(tensor, state[name][first]), name
        assert tensor.untyped_storage().data_ptr() != state[name].untyped_storage().data_ptr()


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_a_subnet_has_the_sizes_asked_for_and_its_layers_know(seed):
    candidate = some(NORMED, seed)
    subnet = extracted(NORMED, candidate)
    for width in NORMED.widths:
        for tensor, axis in width.slots:
            if tensor in subnet.state_dict():
                assert subnet.state_dict()[tensor].shape[axis] == candidate[width.name]
    for layer in subnet.modules():
        if isinstance(layer, nn.Conv2d):
            assert (layer.out_channels, layer.in_channels) == layer.weight.shape[:2]
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.num_features == len(layer.weight) == len(layer.running_var)
        if isinstance(layer, nn.Linear):
            assert (layer.out_features, layer.in_features) == layer.weight.shape


def test_the_whole_is_the_network_itself():
    with torch.no_grad():
        expected = NORMED.network(IMAGES)
        assert torch.equal(NORMED.answer({}, IMAGES), expected)
        assert torch.equal(NORMED.answer(NORMED.most, IMAGES), expected)


def test_a_skipped_block_is_one_that_adds_nothing():
    """After a ReLU, x + 0 is x: zeroing what the block adds is the same as leaving it out."""
    silent = copy.deepcopy(NORMED.network)
    for place in (1, 5):
        nn.init.zeros_(silent.blocks[place].second.norm.weight)
        nn.init.zeros_(silent.blocks[place].second.norm.bias)
    skipped = {"stage0.depth": 1, "stage2.depth": 0}
    with torch.no_grad():
        assert torch.equal(NORMED.answer(skipped, IMAGES), silent(IMAGES))
    assert len(extracted(NORMED, skipped).blocks) == 4
    assert len(NORMED.network.blocks) == 6


def test_gradients_and_statistics_of_a_subnet_reach_the_shared_weights_and_only_its_part():
    supernet = residual_supernet(network().train())
    before = copy.deepcopy(supernet.network.state_dict())
    supernet.answer({"block0.inner": 3}, IMAGES).sum().backward()
    first = supernet.network.blocks[0].first
    assert first.conv.weight.grad[:3].abs().sum() > 0
    assert first.conv.weight.grad[3:].abs().sum() == 0
    moved = first.norm.running_mean != before["blocks.0.first.norm.running_mean"]
    assert moved.tolist() == [True] * 3 + [False] * 5


def test_widths_and_depths_of_the_family_are_found():
    assert NORMED.most == {
        "stage0.width": 8, "stage1.width": 16, "stage2.width": 32,
        "block0.inner": 8, "block1.inner": 8, "block2.inner": 16, "block3.inner": 16,
        "block4.inner": 32, "block5.inner": 32,
        "stage0.depth": 2, "stage1.depth": 1, "stage2.depth": 1,
    }  # fmt: skip


@pytest.mark.parametrize("supernet", [NORMED, FOLDED], ids=["batch norm", "folded"])
def test_sorted_channels_say_the_same_as_a_whole_and_put_the_heavy_first(supernet):
    ordered = sorted_channels(supernet, channel_norms(supernet))
    with torch.no_grad():
        same = torch.allclose(ordered.network(IMAGES), supernet.network(IMAGES), atol=1e-5)
    assert same  # float32, sums in another order
    for norms in channel_norms(ordered).values():
        assert (norms[:-1] >= norms[1:] * (1 - 1e-6)).all()
    assert not torch.equal(ordered.network.stem.conv.weight, supernet.network.stem.conv.weight)


def test_any_order_of_channels_says_the_same_as_a_whole():
    scores = {w.name: torch.randn(w.channels, generator=drawn(1)) for w in NORMED.widths}
    ordered = sorted_channels(NORMED, scores)
    with torch.no_grad():
        assert torch.allclose(ordered.network(IMAGES), NORMED.network(IMAGES), atol=1e-5)


def unequal(seed: int) -> ResNet:
    found = network(seed=seed)
    with torch.no_grad():
        for block in found.blocks:
            scale = torch.randn(block.second.conv.in_channels, generator=drawn(seed)).exp()
            block.second.conv.weight *= scale.reshape(1, -1, 1, 1)
    return found


def test_sorting_keeps_more_of_the_answer_than_the_opposite_order():
    """Summed over eight networks whose inner channels are read with unequal weights, at half."""
    errors = {1: 0.0, -1: 0.0}
    for seed in range(8):
        supernet = residual_supernet(unequal(seed))
        half = {w.name: w.channels // 2 for w in supernet.widths if "inner" in w.name}
        for sign in errors:
            scores = {name: sign * each for name, each in channel_norms(supernet).items()}
            with torch.no_grad():
                said = sorted_channels(supernet, scores).answer(half, IMAGES)
                errors[sign] += (said - supernet.network(IMAGES)).square().sum().item()
    assert errors[1] < errors[-1]


def sandwich_space(supernet: Supernet):
    return supernet.space({"stage2.width": (8, 16, 32), "block0.inner": (2, 8)})


def test_the_sandwich_holds_the_largest_the_smallest_and_random_ones():
    supernet = residual_supernet(network().train())
    space = sandwich_space(supernet)
    step = sandwich_backward_(supernet, space, IMAGES, LABELS, drawn(0), randoms=3)
    assert step.candidates[:2] == (space.largest, space.smallest)
    assert len(step.candidates) == len(step.losses) == 5


def test_its_gradient_is_the_sum_with_the_largest_as_a_teacher_that_stands_still():
    supernet = residual_supernet(network())
    space = sandwich_space(supernet)
    step = sandwich_backward_(supernet, space, IMAGES, LABELS, drawn(0), randoms=2)
    found = [p.grad.clone() for p in supernet.network.parameters()]
    supernet.network.zero_grad()
    with torch.no_grad():
        soft = supernet.network(IMAGES).softmax(-1)
    losses = [F.cross_entropy(supernet.network(IMAGES), LABELS)]
    for each in step.candidates[1:]:
        logits = supernet.answer(each, IMAGES)
        losses.append(-(soft * logits.log_softmax(-1)).sum(-1).mean())
    sum(losses).backward()
    assert step.losses == pytest.approx([each.item() for each in losses], rel=1e-5)
    for one, other in zip(found, supernet.network.parameters(), strict=True):
        assert torch.allclose(one, other.grad, atol=1e-5)  # float32, sums in another order


def test_a_few_steps_of_the_sandwich_lower_the_loss_at_every_size():
    supernet = residual_supernet(network().train())
    space = sandwich_space(supernet)
    optimizer = torch.optim.SGD(supernet.network.parameters(), lr=0.05)
    numbers = drawn(0)
    images, labels = torch.randn(16, 3, 16, 16, generator=numbers), torch.arange(16) % 10

    def losses():
        with torch.no_grad():
            return [F.cross_entropy(supernet.answer(c, images), labels) for c in space.fitting()]

    before = losses()
    for _ in range(12):
        optimizer.zero_grad()
        sandwich_backward_(supernet, space, images, labels, numbers)
        optimizer.step()
    assert all(b < a for a, b in zip(before, losses(), strict=True))


def test_slices_hold_for_any_network_whose_couplings_are_told():
    perceptron = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, affine=False), nn.Linear(6, 2))
    slots = (Slot("0.weight", 0), Slot("0.bias", 0), Slot("1.running_mean", 0),
             Slot("1.running_var", 0), Slot("2.weight", 1))  # fmt: skip
    supernet = Supernet(perceptron.eval(), (Width("hidden", 6, slots),))
    x = torch.randn(5, 4)
    subnet = extracted(supernet, {"hidden": 3}).eval()
    assert torch.equal(subnet(x), supernet.answer({"hidden": 3}, x))
    assert (subnet[0].out_features, subnet[1].num_features, subnet[2].in_features) == (3, 3, 3)


def test_values_of_a_space_stand_from_small_to_large_however_they_were_given():
    space = NORMED.space({"stage0.width": (8, 2, 4)})
    assert space.choices == (Choice("stage0.width", (2, 4, 8)),)


def grouped() -> ResNet:
    found = network()
    found.blocks[0].first.conv = nn.Conv2d(8, 8, 3, groups=8)
    return found


DEPTHWISE = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8))
LINEAR = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: NORMED.answer({"stage9.width": 4}, IMAGES), "'stage9.width' is no width or depth"),
        (lambda: NORMED.answer({"stage0.width": 9}, IMAGES), "from 1 to 8, got 9"),
        (lambda: NORMED.answer({"stage0.width": 0}, IMAGES), "from 1 to 8, got 0"),
        (lambda: extracted(NORMED, {"stage0.depth": 3}), "from 0 to 2, got 3"),
        (lambda: extracted(NORMED, {"stage0.width": 4.0}), "got 4.0"),
        (lambda: NORMED.space({"stage0.width": (4, 9)}), "from 1 to 8, got 9"),
        (lambda: NORMED.space({"stage0.width": ()}), "needs distinct values"),
        (lambda: sorted_channels(NORMED, {"x": torch.ones(3)}), "'x' with scores"),
        (lambda: sorted_channels(NORMED, {"stage0.width": torch.ones(3)}), r"scores \(3,\)"),
        (lambda: residual_supernet(LINEAR), "Sequential has no 'stem'"),
        (lambda: residual_supernet(grouped()), "no 8 channels on axis 1 of 'blocks.0.first"),
        (lambda: Supernet(DEPTHWISE, (Width("w", 8, (Slot("0.weight", 0),)),)), "of 8 groups"),
        (lambda: Supernet(LINEAR, (), (Depth("d", ("9",)),)), "'9' is no member of a Sequential"),
        (lambda: Supernet(network(), (), (Depth("d", ("stem",)),)), "'stem' is no member"),
        (lambda: Supernet(LINEAR, (Width("w", 3, (Slot("1.weight", 0),)),)), "got LayerNorm"),
        (lambda: Supernet(LINEAR, (Width("w", 4, (Slot("0.weight", 0),)),)), "no 4 channels on"),
        (lambda: Supernet(LINEAR, (Width("w", 4, (Slot("9.weight", 0),)),)), "no shape"),
        (lambda: Supernet(LINEAR, (Width("w", 3, ()),), (Depth("w", ()),)), "distinct names"),
        (
            lambda: sandwich_backward_(
                NORMED, sandwich_space(NORMED), IMAGES, LABELS, drawn(0), randoms=-1
            ),
            "randoms must be 0 or more, got -1",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
