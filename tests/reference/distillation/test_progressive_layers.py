"""Students made of their teacher's layers: stacked, replaced by chance, dropped, sliced."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformer_zoo import CLASSES, NAMES, Sizes, batch, logits, loss_of
from transformer_zoo import net as transformer

from labkit.models.resnet import ResNet
from labkit.models.specs import ResNetSpec
from reference import walk
from reference.distillation.loop import LoopConfig, distill_
from reference.distillation.outputs import Batch
from reference.distillation.progressive.layer_drop import (
    dropping_layers,
    every_other,
    most_influential,
    rate_for,
    searched,
)
from reference.distillation.progressive.pruned_student import (
    Shape,
    channel_activation,
    channel_slice,
    head_activation,
    transformer_slice,
)
from reference.distillation.progressive.stacking import arranged, grow, interleaved, stacked
from reference.distillation.progressive.theseus import (
    Theseus,
    constant,
    linear,
    replace_by_chance_,
)
from reference.pruning.structured import neurons
from reference.pruning.structured.architecture import architecture, block_widths, stream_width
from reference.pruning.structured.depth import block_influence, greedy
from reference.pruning.structured.graph import dependency_graph
from reference.pruning.structured.transformer_config import unsaid
from reference.pruning.structured.width import norm_activation

CAUSAL = ("gpt2", "llama")
each_family = pytest.mark.parametrize("family", NAMES)


def deep(family: str, depth: int = 4, seed: int = 0) -> nn.Module:
    return transformer(Sizes(family, depth=depth, seed=seed))


def depth_of(model: nn.Module) -> int:
    return len(architecture(model).blocks)


def layers_of(model: nn.Module) -> nn.ModuleList:
    return model.get_submodule(architecture(model).layers)


def same(one: nn.Module, other: nn.Module) -> bool:
    there = other.state_dict()
    return all(torch.equal(each, there[name]) for name, each in one.state_dict().items())


def by_labels(student, teacher, given, progress):
    return F.cross_entropy(student.logits.flatten(0, -2), given.labels.flatten())


def epoch_of(family: str):
    """One batch with labels; the text models' logits are of classes, the causal ones' of tokens."""
    inputs = batch(family)
    shape = (2, 5) if family in CAUSAL else (2,)
    labels = torch.arange(torch.Size(shape).numel()).reshape(shape) % CLASSES
    return lambda generator: [Batch(inputs, labels)]


@each_family
@pytest.mark.parametrize("order", [stacked(2, 4), interleaved(2, 4), stacked(2, 3), (1,)])
def test_stacking_keeps_shapes_and_copies_layers(family, order):
    model = deep(family, 2)
    found = arranged(model, order)
    assert depth_of(found) == len(order)
    for layer, origin in zip(layers_of(found), order, strict=True):
        assert same(layer, layers_of(model)[origin])
    assert len({id(each) for each in layers_of(found).parameters()}) == sum(
        len(list(layer.parameters())) for layer in layers_of(found)
    )
    assert logits(found, batch(family)).shape == logits(model, batch(family)).shape
    assert not unsaid(found)


@given(st.integers(1, 12), st.integers(0, 24))
def test_orders_have_every_layer_as_often_as_it_goes(depth, more):
    for order in (stacked(depth, depth + more), interleaved(depth, depth + more)):
        counts = [order.count(layer) for layer in range(depth)]
        assert sum(counts) == len(order) == depth + more
        assert max(counts) - min(counts) <= 1
    assert stacked(depth, 2 * depth) == (*range(depth), *range(depth))
    assert list(interleaved(depth, depth + more)) == sorted(interleaved(depth, depth + more))


@pytest.mark.parametrize("family", CAUSAL)
def test_a_stacked_model_writes_with_a_cache_as_without(family):
    found = arranged(deep(family, 2).float(), stacked(2, 5))
    ids = batch(family)["input_ids"]
    plain = found.generate(
        ids, max_new_tokens=4, do_sample=False, use_cache=False, min_new_tokens=4
    )
    cached = found.generate(
        ids, max_new_tokens=4, do_sample=False, use_cache=True, min_new_tokens=4
    )
    assert torch.equal(plain, cached)


def test_growing_trains_at_each_depth_and_leaves_the_model_alone():
    model = deep("text", 1)
    before = copy.deepcopy(model.state_dict())
    stages = [(1, LoopConfig(2)), (2, LoopConfig(3)), (4, LoopConfig(1))]
    grown = grow(model, deep("text", 4, seed=1), stages, by_labels, epoch_of("text"))
    assert [len(each) for each in grown.losses] == [2, 3, 1]
    assert depth_of(grown.model) == 4
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    by_hand = arranged(model, (0,))
    for depth, config in stages:
        by_hand = arranged(by_hand, stacked(depth_of(by_hand), depth))
        distill_(by_hand, None, by_labels, epoch_of("text"), config)
    assert same(by_hand, grown.model)


def theseus_of(family: str, parts: int = 2) -> tuple[nn.Module, list[nn.Module], Theseus]:
    teacher = deep(family)
    successors = list(layers_of(deep(family, parts, seed=9)))
    return teacher, successors, Theseus(teacher, architecture(teacher).layers, successors)


@each_family
def test_theseus_at_0_is_the_teacher_and_at_1_the_student(family):
    teacher, successors, theseus = theseus_of(family)
    without_dropout(theseus)
    theseus.train()
    theseus.rate = 0.0
    assert torch.equal(logits(theseus, batch(family)), logits(teacher, batch(family)))
    theseus.rate = 1.0
    student = theseus.student().eval()
    assert depth_of(student) == 2
    assert all(map(same, layers_of(student), successors))
    torch.testing.assert_close(logits(theseus, batch(family)), logits(student, batch(family)))
    theseus.eval().rate = 0.0  # in eval it is the student whatever the rate
    torch.testing.assert_close(logits(theseus, batch(family)), logits(student, batch(family)))
    assert not unsaid(student)


@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_parts_are_replaced_as_often_as_the_rate_says(rate):
    _, _, theseus = theseus_of("text", 4)
    theseus.train().rate = rate
    draws, calls = 400, []
    for part in theseus.parts:
        part.successor.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(draws):
        logits(theseus, batch("text"))
    count = 4 * draws
    assert abs(len(calls) - rate * count) <= 5 * (count * rate * (1 - rate)) ** 0.5


def test_parts_are_replaced_independently():
    _, _, theseus = theseus_of("text", 2)
    theseus.train().rate = 0.5
    seen = []
    for i, part in enumerate(theseus.parts):
        part.successor.register_forward_hook(lambda *_, i=i: seen[-1].append(i))
    for _ in range(400):
        seen.append([])
        logits(theseus, batch("text"))
    # Each of the four outcomes has probability 1/4, with a deviation of sqrt(400 3/16).
    for outcome in ([], [0], [1], [0, 1]):
        assert abs(seen.count(outcome) - 100) <= 5 * (400 * 3 / 16) ** 0.5


@each_family
def test_only_successors_learn_and_what_is_frozen_stays(family):
    teacher, _, theseus = theseus_of(family)
    before = copy.deepcopy(theseus.state_dict())
    config = LoopConfig(6, learning_rate=0.01)
    losses = replace_by_chance_(theseus, constant(0.5), by_labels, epoch_of(family), config)
    assert len(losses) == 6
    for name, each in theseus.state_dict().items():
        if not name.endswith("anchor"):
            assert torch.equal(each, before[name]) != (".successor." in name), name
    assert same(teacher, deep(family))
    student = theseus.student()
    assert all(each.requires_grad for each in student.parameters())
    assert student.training
    distill_(student, None, by_labels, epoch_of(family), LoopConfig(3))
    assert not same(student, theseus.student())


def test_a_batch_in_which_nothing_is_replaced_moves_nothing():
    _, successors, theseus = theseus_of("text")
    epoch = epoch_of("text")
    replace_by_chance_(theseus, linear(0.0, 1.0), by_labels, epoch, LoopConfig(1))
    assert all(map(same, layers_of(theseus.student()), successors))


def test_a_linear_schedule_replaces_more_and_more():
    assert [linear(0.5, 0.5)(p) for p in (0.0, 0.25, 0.5, 1.0)] == [0.5, 0.75, 1.0, 1.0]
    assert [linear(0.2, 1.0)(p) for p in (0.0, 1.0)] == [0.2, 1.0]
    assert constant(0.3)(0.0) == constant(0.3)(1.0) == 0.3
    _, _, theseus = theseus_of("text")
    rates = []

    def watching(student, teacher, given, progress):
        rates.append(theseus.rate)
        return by_labels(student, teacher, given, progress)

    replace_by_chance_(theseus, linear(0.5, 0.75), watching, epoch_of("text"), LoopConfig(5))
    assert rates == pytest.approx([0.5, 0.5 + 0.5 / 3, 0.5 + 1 / 3, 1.0, 1.0])


def test_parts_of_a_resnet_are_replaced_and_frozen_statistics_stay():
    teacher = ResNet(ResNetSpec(4, 2, in_channels=2, classes=3)).eval()
    narrow = ResNet(ResNetSpec(4, 1, in_channels=2, classes=3))
    theseus = Theseus(teacher, "blocks", list(narrow.blocks))
    images = torch.randn(4, 2, 8, 8)
    theseus.train().rate = 0.0
    torch.testing.assert_close(theseus(images), teacher(images))
    epoch = lambda generator: [Batch(images, torch.arange(4) % 3)]  # noqa: E731
    replace_by_chance_(theseus, constant(0.5), by_labels, epoch, LoopConfig(6))
    student = theseus.student()
    assert len(student.blocks) == 3
    assert same(student.stem, teacher.stem)
    assert not torch.equal(
        student.blocks[0].first.norm.running_mean, narrow.blocks[0].first.norm.running_mean
    )
    torch.testing.assert_close(student.eval()(images), theseus.eval()(images))


@each_family
def test_layers_are_dropped_in_training_alone(family):
    model = deep(family)
    whole = logits(model, batch(family))
    with dropping_layers(model, 0.9):
        assert torch.equal(logits(model, batch(family)), whole)
        model.train()
        torch.manual_seed(0)
        dropped = [logits(model, batch(family)) for _ in range(5)]
    assert any(not torch.equal(each, whole) for each in dropped)
    assert not any("forward" in vars(module) for module in model.modules())
    assert torch.equal(logits(model.eval(), batch(family)), whole)


@each_family
def test_what_is_left_of_dropping_is_the_model_without_those_layers(family):
    model = deep(family)
    subnet = every_other(model, 2)
    assert depth_of(subnet) == 2
    kept = {0, 2}
    assert [same(*pair) for pair in zip(layers_of(subnet), layers_of(model)[::2], strict=True)] == [
        True
    ] * 2
    draws = iter([0.0 if layer not in kept else 1.0 for layer in range(4)])
    model.train()
    with pytest.MonkeyPatch.context() as patch, dropping_layers(model, 0.5):
        real = torch.rand
        scripted = lambda *size, **named: (  # noqa: E731
            torch.tensor(next(draws)) if size == ((),) else real(*size, **named)
        )
        patch.setattr(torch, "rand", scripted)
        without_dropout(model)
        found = logits(model, batch(family))
    torch.testing.assert_close(found, logits(subnet, batch(family)))


def without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("dropout_prob", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_layers_are_at_work_as_often_as_the_rate_leaves(rate):
    model, calls, passes = deep("text").train(), [], 400
    for block in architecture(model).blocks:
        model.get_submodule(block.contract).register_forward_hook(lambda *_: calls.append(1))
    with dropping_layers(model, rate):
        for _ in range(passes):
            logits(model, batch("text"))
    count = 4 * passes
    assert abs(len(calls) - (1 - rate) * count) <= 5 * (count * rate * (1 - rate)) ** 0.5


def test_training_drops_layers_and_layers_that_were_out_do_not_move():
    model, frozen = deep("gpt2"), deep("gpt2")
    with dropping_layers(model, 0.999):
        distill_(model, None, by_labels, epoch_of("gpt2"), LoopConfig(2))
    assert all(map(same, layers_of(model), layers_of(frozen)))
    assert not same(model.transformer.wte, frozen.transformer.wte)


@given(st.integers(1, 24), st.data())
def test_the_rate_for_a_subnet_is_the_share_that_goes(depth, data):
    kept = data.draw(st.integers(1, depth))
    assert (1 - rate_for(depth, kept)) * depth == pytest.approx(kept)


@pytest.mark.parametrize("family", ["gpt2", "text"])
def test_subnets_keep_the_layers_that_matter(family):
    model, batches = deep(family), [batch(family)]
    influence = block_influence(model, batches)
    kept = sorted(influence.argsort(descending=True)[:2].tolist())
    subnet = most_influential(model, batches, 2)
    for layer, origin in zip(layers_of(subnet), kept, strict=True):
        assert same(layer, layers_of(model)[origin])
    found = searched(model, loss_of, batches, 3)
    assert loss_of(found, batches[0]).item() == pytest.approx(
        greedy(model, loss_of, batches, 1)[-1].loss, rel=1e-9
    )


SHAPES = [Shape(layers=1), Shape(heads=2), Shape(ffn=4), Shape(width=9), Shape(2, 2, 5, 8)]


@each_family
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_slice_has_the_shape_that_was_asked_for(family, shape):
    teacher = deep(family, 3)
    before = copy.deepcopy(teacher.state_dict())
    student = transformer_slice(teacher, [batch(family)], shape)
    assert depth_of(student) == (shape.layers or 3)
    assert stream_width(student) == (shape.width or 12)
    for block in architecture(student).blocks:
        widths = block_widths(student, block)
        assert (widths.heads, widths.ffn) == (shape.heads or 3, shape.ffn or 10)
    assert logits(student, batch(family)).isfinite().all()
    assert all(torch.equal(each, before[name]) for name, each in teacher.state_dict().items())


@each_family
def test_a_slice_of_everything_is_the_teacher(family):
    teacher = deep(family, 2)
    assert torch.equal(
        logits(transformer_slice(teacher, [batch(family)], Shape()), batch(family)),
        logits(teacher, batch(family)),
    )


@each_family
@settings(max_examples=5)
@given(st.integers(0, 1000), st.integers(1, 9))
def test_neurons_that_stay_are_at_least_as_active_as_those_that_go(family, seed, count):
    teacher, batches = deep(family, 1, seed), [batch(family, seed=seed), batch(family)]
    student = transformer_slice(teacher, batches, Shape(ffn=count))
    block = architecture(teacher).blocks[0]
    seen = walk.layer_inputs(teacher, [block.contract], batches)[block.contract]
    masks = [given_batch.get("attention_mask") for given_batch in batches]
    tokens = torch.cat(
        [
            each.flatten(0, 1) if mask is None else each[mask.bool()]
            for each, mask in zip(seen, masks, strict=True)
        ]
    )
    importance = tokens.abs().mean(0)
    order = importance.argsort(descending=True)[:count].sort().values
    bias = teacher.get_submodule(block.expand).bias
    if bias is not None:
        assert torch.equal(student.get_submodule(block.expand).bias, bias[order])
    torch.testing.assert_close(neurons.activation(teacher, batches)[block.name], importance)


def test_heads_with_the_longest_contexts_stay_and_groups_stay_whole():
    teacher, batches = transformer(Sizes("llama", kv_heads=3, per_group=2)), [batch("llama")]
    scores = head_activation(teacher, batches)
    student = transformer_slice(teacher, batches, Shape(heads=4))
    for block in architecture(teacher).blocks:
        seen = walk.layer_inputs(teacher, [block.out], batches)[block.out][0]
        by_hand = torch.stack([head.norm(dim=-1).mean() for head in seen.split(4, -1)])
        torch.testing.assert_close(scores[block.name], by_hand)
        groups = by_hand.reshape(3, 2).sum(1).argsort(descending=True)[:2].sort().values
        rows = (groups[:, None] * 4 + torch.arange(4)).flatten()
        assert torch.equal(
            student.get_submodule(block.key).weight, teacher.get_submodule(block.key).weight[rows]
        )
    with pytest.raises(ValueError, match="3 heads are no whole groups of 2"):
        transformer_slice(teacher, batches, Shape(heads=3))


def test_features_of_the_stream_that_norms_say_least_go():
    teacher, batches = deep("text", 2), [batch("text")]
    student = transformer_slice(teacher, batches, Shape(width=6))
    kept = norm_activation(teacher, batches).argsort(descending=True)[:6].sort().values
    assert torch.equal(student.tokens.weight, teacher.tokens.weight[:, kept])


def test_channels_of_a_slice_are_the_most_active_ones():
    torch.manual_seed(0)
    teacher = ResNet(ResNetSpec(6, 2, in_channels=2, classes=3)).eval()
    images = [torch.randn(3, 2, 8, 8), torch.randn(2, 2, 8, 8)]
    graph = dependency_graph(teacher, images[0])
    scores = channel_activation(teacher, graph, images)
    name = "blocks.0.first.conv.weight"
    seen = walk.layer_inputs(teacher, ["blocks.0.second.conv"], images)["blocks.0.second.conv"]
    by_hand = torch.cat([each.abs().mean((2, 3)) for each in seen]).mean(0)
    torch.testing.assert_close(scores[name], by_hand)
    student = channel_slice(teacher, images, 0.5)
    assert student(images[0]).shape == (3, 3)
    kept = by_hand.argsort(descending=True)[:3].sort().values
    assert student.blocks[0].first.conv.weight.shape == (3, 3, 3, 3)
    assert torch.equal(
        student.blocks[0].first.norm.running_var, teacher.blocks[0].first.norm.running_var[kept]
    )
    assert torch.equal(channel_slice(teacher, images, 0.0)(images[0]), teacher(images[0]))


def test_a_channel_that_is_negative_is_as_active_as_a_positive_one():
    teacher = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 1))
    with torch.no_grad():
        teacher[0].weight.copy_(torch.tensor([[-2.0, 0, 0], [1, 0, 0]]))
    student = channel_slice(teacher, [torch.ones(4, 3)], 0.5)
    assert student[0].weight.tolist() == [[-2.0, 0, 0]]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: stacked(3, 2), "3 layers cannot become 2"),
        (lambda: interleaved(0, 2), "0 layers cannot become 2"),
        (lambda: arranged(deep("vit"), (4,)), "no layer 4 in a model of 4"),
        (lambda: arranged(deep("vit"), ()), "an order of none"),
        (
            lambda: arranged(transformer("gpt2", scale_attn_by_inverse_layer_idx=True), (0,)),
            "scale_attn_by_inverse_layer_idx",
        ),
        (lambda: grow(deep("vit"), None, [], by_labels, epoch_of("vit")), "at least one stage"),
        (lambda: Theseus(deep("text"), "head", [nn.Linear(2, 2)]), "'head' is Linear"),
        (lambda: Theseus(deep("text"), "layers", []), "do not divide into 0 parts"),
        (lambda: Theseus(deep("text"), "layers", [nn.Identity()] * 3), "4 modules do not divide"),
        (lambda: constant(0.0), "above 0 and at most 1, got 0.0"),
        (lambda: linear(-0.1, 0.5), "start within 0 and 1, got -0.1"),
        (lambda: linear(0.1, 0.0), "full_at must be above 0"),
        (lambda: dropping_layers(deep("text"), 1.0).__enter__(), "below 1, got 1.0"),
        (lambda: rate_for(4, 5), "keeps 1 to 4, got 5"),
        (lambda: every_other(deep("text"), 0), "keeps 1 to 4, got 0"),
        (lambda: transformer_slice(deep("text"), [], Shape()), "at least one batch"),
        (
            lambda: transformer_slice(deep("text"), [batch("text")], Shape(ffn=11)),
            "ffn must be within 1 and the teacher's 10, got 11",
        ),
        (
            lambda: transformer_slice(deep("text"), [batch("text")], Shape(layers=0)),
            "layers must be within 1 and the teacher's 4, got 0",
        ),
        (lambda: channel_slice(nn.Conv2d(1, 1, 1), [], 0.5), "at least one batch"),
        (lambda: head_activation(deep("text"), []), "at least one batch"),
    ],
)
def test_what_cannot_be_made_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
