"""Both tiers without weights and without a network: entries, roles, shapes on the meta device."""

import importlib.util
import subprocess
import sys

import pytest
import transformers

from labkit import pretrained
from labkit.models import spec_of
from labkit.pretrained import cpu_tier, roles

# Each model's own card or paper; GPT-2's head shares its weights with the embedding.
PUBLISHED = {
    "minilm": 22_713_216,
    "efficientnet_lite0": 4_652_008,
    "smollm2_135m": 134_515_008,
    "bert_base": 109_482_240,
    "bert_large": 335_141_888,
    "vit_b16": 86_567_656,
    "gpt2": 124_439_808,
    "llama2_7b": 6_738_415_616,
    "llama2_13b": 13_015_864_320,
    "mistral_7b": 7_241_732_096,
    "llama3_8b": 8_030_261_248,
}


@pytest.mark.parametrize("name", pretrained.names())
def test_a_model_on_meta_has_exactly_the_published_parameters(name: str) -> None:
    model = pretrained.load(name, device="meta")
    assert all(parameter.is_meta for parameter in model.parameters())
    assert not model.training
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted == PUBLISHED[name] == pretrained.entry(name).parameters


def test_every_published_count_has_its_entry() -> None:
    assert set(PUBLISHED) == set(pretrained.names())


@pytest.mark.parametrize("name", pretrained.names())
def test_an_entry_says_what_a_card_must_say(name: str) -> None:
    entry = pretrained.entry(name)
    assert entry.name == name
    assert entry.title and entry.purpose and entry.licence and entry.citation
    is_hub = isinstance(entry.source, pretrained.Hub)
    assert is_hub == (entry.tier == "gpu")


def test_every_hub_entry_is_pinned_to_a_commit() -> None:
    for name in pretrained.names():
        entry = pretrained.entry(name)
        for place in (entry.source, entry.mirror):
            if isinstance(place, pretrained.Hub):
                assert len(place.revision) == 40
                assert set(place.revision) <= set("0123456789abcdef")


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r"'bert_huge'.*minilm.*bert_large"):
        pretrained.load("bert_huge")


def test_importing_it_does_not_import_transformers() -> None:
    code = "import labkit.pretrained, sys; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_tier_changes_every_role_and_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_TIER", raising=False)
    assert [pretrained.role(name) for name in ("encoder", "vision", "language_model")] == [
        "minilm", "vit_cifar10", "llama_sotu",
    ]  # fmt: skip
    monkeypatch.setenv("LABKIT_TIER", "gpu")
    assert [pretrained.role(name) for name in ("encoder", "vision", "language_model")] == [
        "bert_large", "vit_b16", "mistral_7b",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["GPU", "tpu", ""])
def test_another_tier_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("LABKIT_TIER", name)
    with pytest.raises(ValueError, match=rf"LABKIT_TIER is '{name}'; expected 'cpu' or 'gpu'"):
        pretrained.role("encoder")


def test_an_unknown_role_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="language_model"):
        pretrained.role("speech")


def test_every_role_is_filled_in_both_tiers() -> None:
    for chosen in roles.ROLES.values():
        assert pretrained.entry(chosen.gpu).tier == "gpu"
        if chosen.cpu in roles.SHIPPED:
            assert importlib.util.find_spec(f"labkit.baselines.{chosen.cpu}") is not None
        else:
            assert pretrained.entry(chosen.cpu).tier == "cpu"


def test_a_shipped_baseline_is_loaded_like_a_pretrained_model() -> None:
    model = pretrained.load("vit_cifar10")
    assert isinstance(model, transformers.ViTForImageClassification)
    assert not model.training
    assert pretrained.tokenizer("llama_sotu").token_to_id("<|end|>") == 0


@pytest.mark.parametrize("name", ["vit_cifar10", "vit_b16", "efficientnet_lite0"])
def test_a_vision_model_has_no_tokenizer(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no tokenizer"):
        pretrained.tokenizer(name)


def test_minilms_classifier_is_bert_specs_default() -> None:
    model = pretrained.classifier("minilm", device="meta")
    assert spec_of(model) == type(spec_of(model))()


def test_only_an_encoder_gets_a_classifiers_head() -> None:
    with pytest.raises(ValueError, match="gpt2 is not a BERT encoder"):
        pretrained.classifier("gpt2", device="meta")


def test_smollm2s_card_warns_of_its_grid() -> None:
    assert "never grade" in cpu_tier.SMOLLM2_135M.caveat
