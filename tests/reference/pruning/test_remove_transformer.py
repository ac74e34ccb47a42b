"""Smaller equals masked, over random networks of every family."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformer_zoo import NAMES, Sizes, batch, count, logits, net, sizes

from reference.pruning.structured.architecture import LayerWidths, architecture, block_widths
from reference.pruning.structured.depth import skipped
from reference.pruning.structured.heads import masked_heads, of_groups
from reference.pruning.structured.neurons import masked_neurons
from reference.pruning.structured.remove_transformer import (
    remove_heads,
    remove_layers,
    remove_neurons,
    remove_width,
)
from reference.pruning.structured.width import masked_width

EXAMPLES = settings(max_examples=40)


def assert_same(found, expected):
    """float64 nets whose softmax and RMSNorm are float32 inside: 6e-8, times the layers after."""
    largest = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * largest)


@st.composite
def bools(draw, size):
    """A mask of which something is kept."""
    mask = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    mask[draw(st.integers(0, size - 1))] = True
    return torch.tensor(mask)


@st.composite
def head_masks(draw, model, kind):
    """What GQA allows: some groups, and the same number of query heads in each of them."""
    found = {}
    for block in architecture(model).blocks:
        groups, each = draw(bools(kind.kv_heads)), draw(st.integers(1, kind.per_group))
        within = [draw(st.permutations(range(kind.per_group)))[:each] for _ in groups]
        rows = torch.zeros(kind.kv_heads, kind.per_group, dtype=torch.bool)
        for row, places in zip(rows, within, strict=True):
            row[torch.tensor(places)] = True
        found[block.name] = (rows & groups[:, None]).flatten()
    return found


@EXAMPLES
@given(st.data(), sizes())
def test_removed_heads_equal_heads_whose_context_is_zero(data, kind):
    model, given_ = net(kind), batch(kind.family)
    masks = data.draw(head_masks(model, kind))
    with masked_heads(model, masks):
        expected = logits(model, given_)
    assert_same(logits(remove_heads(model, masks), given_), expected)


@EXAMPLES
@given(st.data(), sizes())
def test_removed_neurons_equal_neurons_at_zero(data, kind):
    model, given_ = net(kind), batch(kind.family)
    masks = {block.name: data.draw(bools(kind.ffn)) for block in architecture(model).blocks}
    with masked_neurons(model, masks):
        expected = logits(model, given_)
    assert_same(logits(remove_neurons(model, masks), given_), expected)


@EXAMPLES
@given(st.data(), sizes())
def test_removed_layers_equal_skipped_ones_bit_for_bit(data, kind):
    model, given_ = net(kind), batch(kind.family)
    gone = (~data.draw(bools(kind.depth))).nonzero().flatten().tolist()
    with skipped(model, gone):
        expected = logits(model, given_)
    assert torch.equal(logits(remove_layers(model, gone), given_), expected)


@EXAMPLES
@given(st.data(), sizes())
def test_removed_width_equals_norms_that_see_only_the_rest(data, kind):
    model, given_ = net(kind), batch(kind.family)
    mask = torch.ones(kind.heads, kind.head_dim, dtype=torch.bool)
    mask[:, : data.draw(st.integers(0, kind.head_dim - 1))] = False  # a multiple of heads stays
    mask = mask.flatten()[torch.tensor(data.draw(st.permutations(range(kind.width))))]
    with masked_width(model, mask):
        expected = logits(model, given_)
    assert_same(logits(remove_width(model, mask), given_), expected)


@settings(max_examples=15)
@given(st.data(), sizes())
def test_all_four_together_equal_all_four_masks(data, kind):
    model, given_ = net(kind), batch(kind.family)
    heads = data.draw(head_masks(model, kind))
    neurons = {block.name: data.draw(bools(kind.ffn)) for block in architecture(model).blocks}
    gone = (~data.draw(bools(kind.depth))).nonzero().flatten().tolist()
    mask = torch.arange(kind.width) % kind.head_dim > 0
    with (
        masked_heads(model, heads),
        masked_neurons(model, neurons),
        skipped(model, gone),
        masked_width(model, mask),
    ):
        expected = logits(model, given_)
    smaller = remove_width(remove_neurons(remove_heads(model, heads), neurons), mask)
    assert_same(logits(remove_layers(smaller, gone), given_), expected)


@pytest.mark.parametrize("family", NAMES)
def test_removing_nothing_is_the_identity_bit_for_bit(family):
    model, given_ = net(family), batch(family)
    blocks = architecture(model).blocks
    heads = {block.name: torch.ones(3, dtype=torch.bool) for block in blocks}
    neurons = {block.name: torch.ones(10, dtype=torch.bool) for block in blocks}
    same = remove_layers(remove_neurons(remove_heads(model, heads), neurons), ())
    same = remove_width(same, torch.ones(12, dtype=torch.bool))
    assert torch.equal(logits(same, given_), logits(model, given_))
    assert {name: each.shape for name, each in same.state_dict().items()} == {
        name: each.shape for name, each in model.state_dict().items()
    }
    if hasattr(model, "config"):
        assert same.config.to_dict() == model.config.to_dict()
    else:
        assert same.spec == model.spec


def parameters(kind: Sizes, heads: int, groups: int, ffn: int, width: int) -> int:
    """Of one block, by hand: matrices, their biases, two norms."""
    inner, shared = heads * kind.head_dim, groups * kind.head_dim
    bias = kind.biases or kind.family != "llama"
    qkvo = width * (2 * inner + 2 * shared) + bias * (inner + 2 * shared + width)
    if kind.family == "llama":
        return qkvo + 3 * width * ffn + bias * (2 * ffn + width) + 2 * width
    return qkvo + 2 * width * ffn + ffn + width + 4 * width


@EXAMPLES
@given(st.data(), sizes())
def test_parameters_go_by_the_closed_form(data, kind):
    model = net(kind)
    blocks = architecture(model).blocks
    rest = count(model) - kind.depth * parameters(
        kind, kind.heads, kind.kv_heads, kind.ffn, kind.width
    )
    heads, groups = data.draw(head_masks(model, kind)), {}
    neurons = {block.name: data.draw(bools(kind.ffn)) for block in blocks}
    for name, mask in heads.items():
        groups[name] = int(mask.reshape(kind.kv_heads, -1).any(1).sum())
    found = count(remove_neurons(remove_heads(model, heads), neurons))
    assert found == rest + sum(
        parameters(kind, int(heads[n].sum()), groups[n], int(neurons[n].sum()), kind.width)
        for n in heads
    )
    if kind.depth > 1:
        without = count(remove_layers(model, [0]))
        one = parameters(kind, kind.heads, kind.kv_heads, kind.ffn, kind.width)
        assert without == count(model) - one


@pytest.mark.parametrize(("family", "outside"), [
    ("vit", lambda d: d + 5 * d + (32 + 1) * d + 2 * d + (d + 1) * 3),  # class, places, patches
    ("bert", lambda d: (19 + 12 + 2) * d + 2 * d + (d + 1) * d + (d + 1) * 3),
    ("gpt2", lambda d: (19 + 12) * d + 2 * d),  # the output layer is tied
    ("llama", lambda d: 19 * d + d),
    ("text", lambda d: (19 + 12) * d + 2 * d + (d + 1) * 3),
])  # fmt: skip
def test_a_smaller_width_counts_by_the_closed_form(family, outside):
    kind = Sizes(family)
    smaller = remove_width(net(kind), torch.arange(12) < 9)
    assert count(smaller) == outside(9) + 2 * parameters(kind, 3, 3, 10, 9)


@pytest.mark.parametrize("family", NAMES)
def test_the_original_is_untouched(family):
    model = net(family).train()
    before, config = copy.deepcopy(model.state_dict()), copy.deepcopy(vars(model).get("config"))
    first = architecture(model).blocks[0]
    for smaller in (
        remove_heads(model, {first.name: torch.tensor([True, False, True])}),
        remove_neurons(model, {first.name: torch.arange(10) < 4}),
        remove_width(model, torch.arange(12) < 6),
        remove_layers(model, [1]),
    ):
        assert smaller.training
        with torch.no_grad():
            for each in smaller.parameters():
                each.zero_()
    assert model.state_dict().keys() == before.keys()
    assert all(map(torch.equal, model.state_dict().values(), before.values()))
    assert block_widths(model, first) == LayerWidths(3, 3, 4, 10)
    assert model.training
    if config is not None:
        assert model.config.to_dict() == config.to_dict()


@pytest.mark.parametrize("family", NAMES)
def test_what_is_left_has_gradients_and_keeps_what_was_frozen(family):
    model = net(family)
    for name, each in model.named_parameters():
        each.requires_grad_("bias" not in name)
    first = architecture(model).blocks[0].name
    smaller = remove_heads(model, {first: torch.tensor([True, False, True])})
    smaller = remove_width(smaller, torch.arange(12) < 9)
    frozen = [name for name, each in smaller.named_parameters() if not each.requires_grad]
    assert frozen == [name for name, _ in model.named_parameters() if "bias" in name]
    logits_ = smaller(**batch(family))
    (logits_ if isinstance(logits_, torch.Tensor) else logits_.logits).sum().backward()
    assert all(each.grad is not None for each in smaller.parameters() if each.requires_grad)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_tied_embeddings_stay_tied(family):
    smaller = remove_width(net(family), torch.arange(12) % 4 > 0)
    assert smaller.lm_head.weight is smaller.get_input_embeddings().weight
    untied = net(family, tie_word_embeddings=False)
    cut = remove_width(untied, torch.arange(12) % 4 > 0)
    assert cut.lm_head.weight is not cut.get_input_embeddings().weight


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_cache_gives_what_a_whole_pass_gives_after_heads_and_layers_have_gone(family, attention):
    kind = Sizes(family, depth=4, kv_heads=3, per_group=2 if family == "llama" else 1)
    model = net(kind, torch.float32, attn_implementation=attention)
    blocks = architecture(model).blocks
    masks = {
        blocks[1].name: of_groups(model, {blocks[1].name: torch.tensor([True, False, True])})[
            blocks[1].name
        ],
        blocks[3].name: of_groups(model, {blocks[3].name: torch.tensor([False, False, True])})[
            blocks[3].name
        ],
    }
    smaller = remove_layers(remove_heads(model, masks), [0, 2])
    ids = batch(family, examples=1, tokens=4)["input_ids"]
    cached = smaller.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=None)
    whole = smaller.generate(
        ids, max_new_tokens=6, do_sample=False, use_cache=False, eos_token_id=None
    )
    assert cached.shape == (1, 10)
    assert torch.equal(cached, whole)
    first = smaller(ids, use_cache=True)
    assert [len(layer.keys[0]) for layer in first.past_key_values.layers] == [2, 1]
    step = smaller(cached[:, 4:5], past_key_values=first.past_key_values).logits[:, -1].detach()
    largest = float(step.abs().max())
    torch.testing.assert_close(  # float32 in another order
        step, logits(smaller, {"input_ids": cached[:, :5]})[:, -1], rtol=0, atol=1e-5 * largest
    )


def test_attributes_say_the_heads_that_are_left():
    def attention(family, **more):
        model = net(Sizes(family, kv_heads=4, **more))
        block = architecture(model).blocks[0]
        groups = {block.name: torch.tensor([True, False, True, True])}
        return remove_heads(model, of_groups(model, groups)).get_submodule(block.attention)

    assert attention("vit").num_attention_heads == 3
    bert = attention("bert")
    assert (bert.num_attention_heads, bert.all_head_size, bert.attention_head_size) == (3, 12, 4)
    gpt2 = attention("gpt2")
    assert (gpt2.num_heads, gpt2.split_size, gpt2.head_dim) == (3, 12, 4)
    llama = attention("llama", per_group=2)
    assert (llama.num_key_value_groups, llama.q_proj.out_features) == (2, 24)
    assert llama.k_proj.out_features == 12
    assert attention("text").heads == 3


def test_query_heads_within_groups_leave_keys_and_values():
    model = net(Sizes("llama", kv_heads=2, per_group=3))
    name = architecture(model).blocks[0].name
    mask = torch.tensor([True, False, True, True, True, False])
    left = remove_heads(model, {name: mask}).get_submodule(name).self_attn
    assert (left.num_key_value_groups, left.k_proj.out_features, left.q_proj.out_features) == (
        2, 8, 16,
    )  # fmt: skip


@pytest.mark.parametrize("family", NAMES)
def test_layers_are_numbered_anew(family):
    smaller = remove_layers(net(Sizes(family, depth=4)), [0, 2])
    for place, block in enumerate(architecture(smaller).blocks):
        found = {m.layer_idx for m in smaller.get_submodule(block.name).modules()
                 if hasattr(m, "layer_idx")}  # fmt: skip
        assert found <= {place}
    depth = smaller.spec.depth if family == "text" else smaller.config.num_hidden_layers
    assert depth == 2


def test_what_would_leave_nothing_or_does_not_fit_is_refused():
    model = net(Sizes("llama", kv_heads=2, per_group=2))
    name = architecture(model).blocks[0].name
    none = torch.zeros(4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"would keep no head of 4; remove the layer instead"):
        remove_heads(model, {name: none})
    with pytest.raises(ValueError, match=r"\[2, 1\] query heads of its key/value groups"):
        remove_heads(model, {name: torch.tensor([True, True, True, False])})
    with pytest.raises(ValueError, match=r"has 4 heads, its mask has shape \(3,\)"):
        remove_heads(model, {name: none[:3]})
    with pytest.raises(ValueError, match=r"there is no block 'layers\.9'"):
        remove_heads(model, {"layers.9": none})
    with pytest.raises(ValueError, match="would keep no neuron of 10"):
        remove_neurons(model, {name: torch.zeros(10, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"has 10 neurons, its mask has shape \(4,\)"):
        remove_neurons(model, {name: ~none})
    with pytest.raises(ValueError, match="a model needs a layer, got all 2 to remove"):
        remove_layers(model, [0, 1])
    with pytest.raises(ValueError, match="there is no layer 2 in a model of 2"):
        remove_layers(model, [2])
    with pytest.raises(ValueError, match=r"layers must differ, got \[1, 1\]"):
        remove_layers(model, [1, 1])
    with pytest.raises(ValueError, match="the mask keeps none of 16 features"):
        remove_width(model, torch.zeros(16, dtype=torch.bool))
    with pytest.raises(ValueError, match="a stream of 16 features needs a mask of 16, got 4"):
        remove_width(model, ~none)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "text"])
def test_a_width_that_the_heads_do_not_divide_is_refused(family):
    with pytest.raises(
        ValueError, match=r"width of 10 does not divide into 3 heads.*multiple of 3"
    ):
        remove_width(net(family), torch.arange(12) < 10)


def test_vit_takes_a_width_that_its_heads_do_not_divide():
    assert remove_width(net("vit"), torch.arange(12) < 10).config.head_dim == 4


def test_a_scale_that_depends_on_the_place_forbids_removing_layers():
    model = net("gpt2", scale_attn_by_inverse_layer_idx=True)
    with pytest.raises(ValueError, match="scale_attn_by_inverse_layer_idx"):
        remove_layers(model, [0])


def test_every_parameter_is_new():
    model = net("bert")
    names = {block.name: torch.ones(3, dtype=torch.bool) for block in architecture(model).blocks}
    old = {each.data_ptr() for each in model.parameters()}
    assert not old & {each.data_ptr() for each in remove_heads(model, names).parameters()}
    assert isinstance(remove_heads(model, names).bert.pooler.dense.weight, nn.Parameter)
