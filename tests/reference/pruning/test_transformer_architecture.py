import pytest
import torch
from torch import nn
from transformer_zoo import NAMES, Sizes, net
from transformers import BertModel, GPT2Model, LlamaModel, T5Config, T5EncoderModel, ViTModel
from transformers.pytorch_utils import Conv1D

from reference.pruning.structured.architecture import (
    LayerWidths,
    all_norms,
    architecture,
    block_widths,
    stream_width,
)


@pytest.mark.parametrize("family", NAMES)
def test_every_linear_layer_norm_and_table_has_exactly_one_place(family):
    model = net(family)
    found = architecture(model)
    named = [*found.embeddings, *found.tables, *all_norms(found), *found.heads]
    named += [found.pooler] if found.pooler else []
    for block in found.blocks:
        named += [*block.readers, *block.writers]
    assert len(named) == len(set(named))
    parts = (nn.Linear, Conv1D, nn.Conv2d, nn.Embedding, nn.LayerNorm)
    known = {
        name for name, part in model.named_modules()
        if isinstance(part, parts) or "RMSNorm" in type(part).__name__
    }  # fmt: skip
    inside = {f"{name}.{kind}" for name in known for kind in ("weight", "bias")}
    bare = {name for name, _ in model.named_parameters()} - inside
    assert set(named) == known | bare


@pytest.mark.parametrize("family", NAMES)
def test_sizes_are_read_from_the_weights(family):
    kind = Sizes(family, kv_heads=2, per_group=3 if family == "llama" else 1, ffn=7)
    model = net(kind)
    for block in architecture(model).blocks:
        assert block_widths(model, block) == LayerWidths(kind.heads, 2, 4, 7)
    assert stream_width(model) == kind.width


@pytest.mark.parametrize(
    ("family", "kind"),
    [("vit", ViTModel), ("bert", BertModel), ("gpt2", GPT2Model), ("llama", LlamaModel)],
)
def test_a_model_without_its_head_is_known_too(family, kind):
    found = architecture(kind(net(family).config))
    assert len(found.blocks) == 2
    assert found.heads == ()


class ViTModel4(nn.Module):
    """ViT's names in transformers 4."""

    def __init__(self):
        super().__init__()
        self.embeddings = tree({"patch_embeddings.projection": nn.Conv2d(3, 8, 4)})
        self.layernorm = nn.LayerNorm(8)
        names = [f"attention.attention.{name}" for name in ("query", "key", "value")]
        names += ["attention.output.dense", "intermediate.dense", "output.dense"]
        layer = tree({name: nn.Linear(8, 8) for name in names})
        layer.attention.attention.attention_head_size = 4
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList([layer])


ViTModel4.__name__ = "ViTModel"  # by which it is known


def tree(leaves):
    root = nn.Module()
    for name, leaf in leaves.items():
        *parents, last = name.split(".")
        at = root
        for parent in parents:
            if not hasattr(at, parent):
                at.add_module(parent, nn.Module())
            at = getattr(at, parent)
        at.add_module(last, leaf)
    return root


def test_names_of_an_older_version_are_found():
    model = ViTModel4()
    (block,) = architecture(model).blocks
    assert block.query == "encoder.layer.0.attention.attention.query"
    assert block.attention == "encoder.layer.0.attention.attention"
    assert block_widths(model, block).heads == 2


def test_unknown_classes_are_refused_by_name():
    small = T5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    with pytest.raises(ValueError, match=r"no architecture is known for T5EncoderModel; expected"):
        architecture(T5EncoderModel(small))
    with pytest.raises(ValueError, match="no architecture is known for Linear"):
        architecture(nn.Linear(2, 2))


def test_cross_attention_is_refused():
    with pytest.raises(ValueError, match="GPT2LMHeadModel has cross-attention"):
        architecture(net("gpt2", add_cross_attention=True))


def test_a_class_that_lacks_a_part_is_refused():
    model = ViTModel4()
    del model.encoder.layer[0].output
    with pytest.raises(ValueError, match=r"no encoder\.layer\.0\.mlp\.fc2 or encoder"):
        architecture(model)


def test_looking_changes_nothing():
    model = net("llama").train()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    architecture(model)
    assert model.training
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
