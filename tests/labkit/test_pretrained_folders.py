"""Weights from folders in Hugging Face's layout, written as the repositories have them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from torch import nn

from labkit import pretrained
from labkit.pretrained import conversion
from labkit.pretrained.architectures import HuggingFace
from labkit.registry import SourceUnavailable


@dataclass(frozen=True)
class Tiny:
    """A model as its repository stores it, and what the loader makes of it."""

    saved: str
    loaded: str
    fields: dict[str, Any]
    shard: str = "5GB"


WIDTHS = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
}  # fmt: skip
GPT = {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
LLAMA = {"vocab_size": 99, "num_key_value_heads": 2, **WIDTHS}
TINY = {
    "bert_large": Tiny("BertForPreTraining", "BertModel", {"vocab_size": 99, **WIDTHS}),
    "gpt2": Tiny("GPT2Model", "GPT2LMHeadModel", GPT),  # its repository has no head
    "vit_b16": Tiny("ViTForImageClassification", "ViTForImageClassification", WIDTHS),
    "llama2_13b": Tiny("LlamaForCausalLM", "LlamaForCausalLM", LLAMA, shard="20KB"),
    "mistral_7b": Tiny("MistralForCausalLM", "MistralForCausalLM", LLAMA, shard="20KB"),
    "minilm": Tiny("BertModel", "BertModel", {"vocab_size": 99, **WIDTHS}),
}


def _by_hand(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype = torch.float32
) -> nn.Module:
    """Save a tiny model of a class in LABKIT_MODELS, and have its entry speak of that size."""
    tiny = TINY[name]
    saved_class = getattr(transformers, tiny.saved)
    model = saved_class(saved_class.config_class(**tiny.fields)).to(dtype).eval()
    model.save_pretrained(folder / name, max_shard_size=tiny.shard)
    small = replace(pretrained.entry(name), architecture=HuggingFace(tiny.loaded, tiny.fields))
    monkeypatch.setitem(pretrained.ENTRIES, name, small)
    monkeypatch.setenv("LABKIT_MODELS", str(folder))
    return model


@pytest.mark.parametrize("name", TINY)
def test_a_folder_by_hand_gives_the_weights_that_were_saved(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = _by_hand(name, tmp_path, monkeypatch)
    body = getattr(saved, "bert", saved)
    loaded = pretrained.load(name)
    assert not loaded.training
    expected = body.state_dict()
    own = loaded.transformer if name == "gpt2" else loaded
    assert own.state_dict().keys() == expected.keys()
    assert all(torch.equal(own.state_dict()[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", ["llama2_13b", "mistral_7b"])
def test_weights_keep_the_dtype_that_they_are_stored_in(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _by_hand(name, tmp_path, monkeypatch, torch.bfloat16)
    assert len(list((tmp_path / name).glob("model-*.safetensors"))) > 1
    assert {p.dtype for p in pretrained.load(name).parameters()} == {torch.bfloat16}


def test_gpt2s_head_shares_the_embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _by_hand("gpt2", tmp_path, monkeypatch)
    loaded = pretrained.load("gpt2")
    assert loaded.lm_head.weight is loaded.transformer.wte.weight


def test_the_old_names_of_berts_norms_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repositories of 2018 call a norm's weight gamma and its bias beta."""
    saved = _by_hand("bert_large", tmp_path, monkeypatch)
    file = tmp_path / "bert_large" / "model.safetensors"
    old = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): t
        for key, t in load_file(file).items()
    }
    for index, key in enumerate(key for key in old if key.endswith(("gamma", "beta"))):
        old[key] = torch.full_like(old[key], 2.0 + index)
    save_file(old, file, metadata={"format": "pt"})
    loaded = pretrained.load("bert_large")
    norms = [p for n, p in loaded.named_parameters() if "LayerNorm" in n]
    assert all((p >= 2).all() for p in norms)
    assert len(norms) == sum("LayerNorm" in n for n, _ in saved.bert.named_parameters())


def test_a_folder_without_one_of_the_tensors_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _by_hand("bert_large", tmp_path, monkeypatch)
    file = tmp_path / "bert_large" / "model.safetensors"
    tensors = load_file(file)
    del tensors["bert.pooler.dense.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(SourceUnavailable, match=r"bert_large does not hold.*pooler\.dense\.weight"):
        pretrained.load("bert_large")


def test_a_folder_with_a_model_of_another_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _by_hand("bert_large", tmp_path, monkeypatch)
    wider = HuggingFace("BertModel", {**TINY["bert_large"].fields, "hidden_size": 48})
    monkeypatch.setitem(
        pretrained.ENTRIES,
        "bert_large",
        replace(pretrained.entry("bert_large"), architecture=wider),
    )
    with pytest.raises(SourceUnavailable, match="does not hold BertModel"):
        pretrained.load("bert_large")


def test_a_folder_with_a_pickle_alone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _by_hand("gpt2", tmp_path, monkeypatch)
    (tmp_path / "gpt2" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "gpt2" / "pytorch_model.bin")
    with pytest.raises(SourceUnavailable, match="safetensors"):
        pretrained.load("gpt2")


def test_changing_a_loaded_model_does_not_change_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are mapped from the file, and must be copied on write."""
    _by_hand("minilm", tmp_path, monkeypatch)
    before = (tmp_path / "minilm" / "model.safetensors").read_bytes()
    model = pretrained.load("minilm")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert (tmp_path / "minilm" / "model.safetensors").read_bytes() == before


def test_a_tokenizer_neither_cuts_nor_pads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _by_hand("minilm", tmp_path, monkeypatch)
    stored = Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1}, unk_token="[PAD]"))
    stored.enable_truncation(128)
    stored.enable_padding(length=128)
    stored.save(str(tmp_path / "minilm" / "tokenizer.json"))
    found = pretrained.tokenizer("minilm")
    assert found.truncation is None
    assert found.padding is None


def test_a_classifier_has_the_encoders_weights_and_a_head_of_its_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = _by_hand("minilm", tmp_path, monkeypatch)
    state_before = torch.get_rng_state()
    one, again, other = (pretrained.classifier("minilm", 3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state_before)
    encoder = one.bert.state_dict()
    for key, tensor in encoder.items():
        assert torch.equal(tensor, saved.state_dict()[key])
    assert one.classifier.weight.shape == (3, 32)
    assert torch.equal(one.classifier.weight, again.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert one.config._attn_implementation == "eager"


def test_a_classifier_is_the_same_in_any_state_of_the_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _by_hand("minilm", tmp_path, monkeypatch)
    torch.manual_seed(5)
    one = pretrained.classifier("minilm")
    torch.manual_seed(6)
    assert torch.equal(one.classifier.weight, pretrained.classifier("minilm").classifier.weight)


def test_a_conversion_that_breaks_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(entry: object, package: object, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.delenv("LABKIT_MODELS", raising=False)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(conversion, "write", break_off)
    with pytest.raises(KeyboardInterrupt):
        pretrained.folder("efficientnet_lite0")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["efficientnet_lite0.lock"]
