"""Pruned models on disk and in ONNX, and what their configs can say."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from transformer_zoo import CLASSES, CONTEXT, NAMES, VOCABULARY, Sizes, batch, logits, net
from transformers import AutoModelForCausalLM, AutoModelForImageClassification
from transformers import AutoModelForSequenceClassification as AutoTexts

from labkit import export
from reference.pruning.structured.architecture import LayerWidths, architecture
from reference.pruning.structured.pruned_checkpoint import load_pruned, resized
from reference.pruning.structured.remove_transformer import (
    remove_heads,
    remove_layers,
    remove_neurons,
    remove_width,
)
from reference.pruning.structured.transformer_config import PRUNED, layer_widths, unsaid

HUGGING_FACE = ("vit", "bert", "gpt2", "llama")
AUTO = {
    "vit": AutoModelForImageClassification,
    "bert": AutoTexts,
    "gpt2": AutoModelForCausalLM,
    "llama": AutoModelForCausalLM,
}
EVERY_HEAD = torch.tensor([True, False, True, True])


def blocks(model):
    return [block.name for block in architecture(model).blocks]


def model_of(family):
    """Four heads of four; float32, which is what files hold."""
    return net(Sizes(family, depth=3, kv_heads=4, ffn=12), torch.float32)


def inputs(family):
    given = batch(family)
    return {k: v.float() if v.is_floating_point() else v for k, v in given.items()}


def same_from(folder, load, model, family):
    model.save_pretrained(folder)
    assert not list(folder.glob("*.bin"))
    found = load(folder)
    found.set_attn_implementation("eager")  # the choice is not saved, and rounds otherwise
    assert torch.equal(logits(found.eval(), inputs(family)), logits(model, inputs(family)))
    return found


def uneven(family):
    """Every layer its own numbers of heads and neurons, and a layer less."""
    model = model_of(family)
    first, second, _ = blocks(model)
    model = remove_heads(model, {first: EVERY_HEAD, second: torch.arange(4) < 2})
    model = remove_neurons(model, {first: torch.arange(12) < 8, second: torch.arange(12) < 5})
    return remove_layers(model, [2])


@pytest.mark.parametrize("family", HUGGING_FACE)
def test_even_neurons_and_fewer_layers_are_read_by_plain_from_pretrained(family, tmp_path):
    model = model_of(family)
    masks = {name: torch.arange(12) < 8 for name in blocks(model)}
    model = remove_layers(remove_neurons(model, masks), [1])
    assert unsaid(model) == ()
    assert not hasattr(model.config, PRUNED)
    same_from(tmp_path, AUTO[family].from_pretrained, model, family)
    same_from(tmp_path, load_pruned, model, family)


@pytest.mark.parametrize("family", ["vit", "llama"])
def test_even_heads_are_read_where_the_config_has_a_head_size(family, tmp_path):
    model = model_of(family)
    mask = torch.tensor([True, False, True, False])
    model = remove_heads(model, dict.fromkeys(blocks(model), mask))
    assert unsaid(model) == ()
    found = same_from(tmp_path, AUTO[family].from_pretrained, model, family)
    assert (found.config.num_attention_heads, found.config.head_dim) == (2, 4)


def test_query_heads_within_groups_are_read_by_plain_from_pretrained(tmp_path):
    model = net(Sizes("llama", kv_heads=2, per_group=4), torch.float32)
    mask = torch.tensor([True, False, True, False] * 2)
    model = remove_heads(model, dict.fromkeys(blocks(model), mask))
    found = same_from(tmp_path, AUTO["llama"].from_pretrained, model, "llama")
    assert (found.config.num_attention_heads, found.config.num_key_value_heads) == (4, 2)


@pytest.mark.parametrize("family", HUGGING_FACE)
def test_width_and_heads_that_shrink_together_are_read_by_plain_from_pretrained(family, tmp_path):
    model = model_of(family)
    mask = torch.tensor([True, False, True, False])
    model = remove_heads(model, dict.fromkeys(blocks(model), mask))
    model = remove_width(model, torch.arange(16) % 2 > 0)
    assert unsaid(model) == ()
    same_from(tmp_path, AUTO[family].from_pretrained, model, family)


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("bert", "3 heads of 4 do not make up a width of 16"),
        ("gpt2", "3 heads of 4 do not make up a width of 16"),
        ("llama", "3 heads do not divide a width of 16"),
    ],
)
def test_heads_that_no_config_can_say_are_said_beside_it(family, reason, tmp_path):
    model = model_of(family)
    model = remove_heads(model, dict.fromkeys(blocks(model), EVERY_HEAD))
    assert unsaid(model) == (reason,)
    assert model.config.num_attention_heads == 4
    found = same_from(tmp_path, load_pruned, model, family)
    assert layer_widths(found) == (LayerWidths(3, 3, 4, 12),) * 3


@pytest.mark.parametrize("family", HUGGING_FACE)
def test_uneven_layers_are_loaded_and_plain_from_pretrained_refuses_them(family, tmp_path):
    model = uneven(family)
    assert unsaid(model) == ("layers have 3, 2 heads", "layers have 8, 5 neurons")
    found = same_from(tmp_path, load_pruned, model, family)
    assert type(found) is type(model)
    assert layer_widths(found) == layer_widths(model)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AUTO[family].from_pretrained(tmp_path)
    again = same_from(tmp_path, load_pruned, found, family)
    assert layer_widths(again) == layer_widths(model)


@pytest.mark.parametrize("family", HUGGING_FACE)
def test_width_without_heads_is_loaded_with_the_head_size_that_it_has(family, tmp_path):
    """The config's own head size would be three: scales and rotary angles must be those of four."""
    model = remove_width(model_of(family), torch.arange(16) < 12)
    same_from(tmp_path, load_pruned, model, family)


@pytest.mark.parametrize("more", [
    {"scale_attn_weights": False}, {"scale_attn_by_inverse_layer_idx": True},
])  # fmt: skip
def test_gpt2_s_own_scales_survive(more, tmp_path):
    model = net(Sizes("gpt2", kv_heads=4), torch.float32, **more)
    same_from(tmp_path, load_pruned, remove_width(model, torch.arange(16) < 12), "gpt2")


def test_layers_that_become_even_again_are_said_again(tmp_path):
    model = model_of("bert")
    masks = {name: torch.arange(12) < 8 for name in blocks(model)}
    half = remove_neurons(model, {blocks(model)[0]: masks[blocks(model)[0]]})
    assert hasattr(half.config, PRUNED)
    even = remove_neurons(half, {name: masks[name] for name in blocks(model)[1:]})
    assert not hasattr(even.config, PRUNED)
    assert even.config.intermediate_size == 8
    same_from(tmp_path, AutoTexts.from_pretrained, even, "bert")


def test_tied_embeddings_are_stored_once_and_tied_when_loaded(tmp_path):
    found = same_from(tmp_path, load_pruned, uneven("gpt2"), "gpt2")
    assert found.lm_head.weight is found.transformer.wte.weight


def test_the_dtype_of_the_file_is_kept(tmp_path):
    uneven("llama").to(torch.bfloat16).save_pretrained(tmp_path)
    assert {each.dtype for each in load_pruned(tmp_path).parameters()} == {torch.bfloat16}


def test_a_network_of_one_s_own_is_resized_and_loaded():
    model = uneven("text")
    assert (model.spec.depth, model.spec.heads, model.spec.ffn) == (2, 4, 12)
    fresh = resized(net(Sizes("text", depth=2, kv_heads=4, ffn=12, seed=9)), layer_widths(model))
    fresh.load_state_dict(model.state_dict())
    given = inputs("text")
    assert torch.equal(logits(fresh.float(), given), logits(model, given))


def test_a_spec_follows_where_it_can():
    model = model_of("text")
    masks = {name: torch.arange(12) < 8 for name in blocks(model)}
    model = remove_layers(remove_neurons(model, masks), [0])
    heads = dict.fromkeys(blocks(model), torch.tensor([True, False, True, False]))
    model = remove_width(remove_heads(model, heads), torch.arange(16) < 8)
    spec = model.spec
    assert (spec.depth, spec.ffn, spec.heads, spec.width) == (2, 8, 2, 8)
    rebuilt = type(model)(spec)
    rebuilt.load_state_dict(model.state_dict())
    assert torch.equal(logits(rebuilt.eval(), inputs("text")), logits(model, inputs("text")))


@pytest.mark.parametrize("family", NAMES)
def test_onnx_agrees_with_torch_for_uneven_layers(family, tmp_path):
    model = remove_width(uneven(family), torch.arange(16) < 12)
    takes = {
        "vit": export.images((2, 8, 8), CLASSES),
        "bert": export.texts(CLASSES, VOCABULARY, CONTEXT),
        "text": export.texts(CLASSES, VOCABULARY, CONTEXT),
    }.get(family, export.tokens(VOCABULARY, CONTEXT))
    path = export.to_onnx(model, tmp_path / "pruned.onnx", takes)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = batch(family, examples=3, tokens=9, seed=5)
    arrays = {name: each.numpy() for name, each in zip(takes.names, given.values(), strict=True)}
    arrays = {
        name: each.astype(np.float32) if each.dtype == np.float64 else each
        for name, each in arrays.items()
    }
    (found,) = session.run(None, arrays)
    named = {k: v.float() if v.is_floating_point() else v for k, v in given.items()}
    expected = logits(model, named)
    # The bound that exports of the course are held to, for outputs of size 1 to 10.
    largest = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-4 * largest)


def test_strange_folders_are_refused(tmp_path):
    model = uneven("bert")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())

    def written(**changed):
        (tmp_path / "config.json").write_text(json.dumps(config | changed))
        return tmp_path

    with pytest.raises(ValueError, match="holds a T5Model; expected one of ViTModel"):
        load_pruned(written(architectures=["T5Model"]))
    with pytest.raises(ValueError, match="holds a None"):
        load_pruned(written(architectures=None))
    good = {"heads": 3, "kv_heads": 3, "head_dim": 4, "ffn": 8}
    for bad in ([good | {"heads": 0}], [good | {"ffn": "8"}], [{"heads": 3}], [3], "none"):
        with pytest.raises(ValueError, match="expected ffn, head_dim, heads, kv_heads of >= 1"):
            load_pruned(written(pruned_layers=bad))
    with pytest.raises(ValueError, match="a model of 2 layers needs as many sizes, got 1"):
        load_pruned(written(pruned_layers=[good]))
