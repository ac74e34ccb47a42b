"""Specs and the Hugging Face models that they stand for, in both directions.

Attention is `eager` everywhere: it exports to plain ONNX operators, can show its probabilities,
and on a CPU its backward pass takes half the time of the fused one (python -m bench.labkit).
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch import nn

from labkit.models.specs import BertSpec, GptSpec, LlamaSpec, Spec, VitSpec

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# What decides a model's answers beside its sizes; a spec leaves each at its class's default.
SETTINGS = (
    "activation_function", "attention_bias", "head_dim", "hidden_act", "layer_norm_eps",
    "layer_norm_epsilon", "mlp_bias", "n_inner", "qkv_bias", "rms_norm_eps", "rope_parameters",
    "scale_attn_weights", "type_vocab_size",
)  # fmt: skip
END_OF_TEXT = 0  # the first entry of every vocabulary that this project trains


def build(spec: Spec) -> "PreTrainedModel":
    """A freshly initialised Hugging Face model.

    Raises:
        ValueError: the spec is not of a Hugging Face family.
    """
    if type(spec) not in _MAKERS:
        raise ValueError(f"{type(spec).__name__} is not a Hugging Face family")
    name, configure = _MAKERS[type(spec)]
    return getattr(_transformers(), name)(configure(spec))


def spec_of(model: nn.Module) -> Spec | None:
    """The spec that describes a model, or None where no family of the course does."""
    reader = _READERS.get(type(model).__name__)
    config = getattr(model, "config", None)
    if reader is None or config is None:
        return None
    spec = reader(config)
    _, configure = _MAKERS[type(spec)]
    # A spec holds sizes alone. A model with another rotary base, say, is not what it would build.
    return spec if _settings(configure(spec)) == _settings(config) else None


def _settings(config: "PreTrainedConfig") -> list[Any]:
    return [getattr(config, name, None) for name in SETTINGS]


def _transformers() -> Any:
    """Loaded on first use, because it takes a second; untyped, because its configs are."""
    return import_module("transformers")


def _vit(spec: VitSpec) -> "PreTrainedConfig":
    return _transformers().ViTConfig(
        hidden_size=spec.width,
        num_hidden_layers=spec.depth,
        num_attention_heads=spec.heads,
        intermediate_size=spec.ffn,
        image_size=spec.image_size,
        patch_size=spec.patch,
        num_channels=spec.in_channels,
        num_labels=spec.classes,
        attn_implementation="eager",
    )


def _bert(spec: BertSpec) -> "PreTrainedConfig":
    return _transformers().BertConfig(
        vocab_size=spec.vocabulary,
        hidden_size=spec.width,
        num_hidden_layers=spec.depth,
        num_attention_heads=spec.heads,
        intermediate_size=spec.ffn,
        max_position_embeddings=spec.max_tokens,
        num_labels=spec.classes,
        attn_implementation="eager",
    )


def _gpt(spec: GptSpec) -> "PreTrainedConfig":
    return _transformers().GPT2Config(
        vocab_size=spec.vocabulary,
        n_embd=spec.width,
        n_layer=spec.depth,
        n_head=spec.heads,
        n_positions=spec.context,
        resid_pdrop=0.0,  # two passes over the corpus do not overfit
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=END_OF_TEXT,
        eos_token_id=END_OF_TEXT,
        attn_implementation="eager",
    )


def _llama(spec: LlamaSpec) -> "PreTrainedConfig":
    return _transformers().LlamaConfig(
        vocab_size=spec.vocabulary,
        hidden_size=spec.width,
        num_hidden_layers=spec.depth,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.kv_heads,
        intermediate_size=spec.ffn,
        max_position_embeddings=spec.context,
        tie_word_embeddings=spec.tied,
        bos_token_id=END_OF_TEXT,
        eos_token_id=END_OF_TEXT,
        attn_implementation="eager",
    )


def _read_vit(config: Any) -> VitSpec:
    return VitSpec(
        width=config.hidden_size,
        depth=config.num_hidden_layers,
        heads=config.num_attention_heads,
        ffn=config.intermediate_size,
        image_size=config.image_size,
        patch=config.patch_size,
        in_channels=config.num_channels,
        classes=config.num_labels,
    )


def _read_bert(config: Any) -> BertSpec:
    return BertSpec(
        vocabulary=config.vocab_size,
        width=config.hidden_size,
        depth=config.num_hidden_layers,
        heads=config.num_attention_heads,
        ffn=config.intermediate_size,
        max_tokens=config.max_position_embeddings,
        classes=config.num_labels,
    )


def _read_gpt(config: Any) -> GptSpec:
    return GptSpec(
        vocabulary=config.vocab_size,
        width=config.n_embd,
        depth=config.n_layer,
        heads=config.n_head,
        context=config.n_positions,
    )


def _read_llama(config: Any) -> LlamaSpec:
    return LlamaSpec(
        vocabulary=config.vocab_size,
        width=config.hidden_size,
        depth=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        ffn=config.intermediate_size,
        context=config.max_position_embeddings,
        tied=config.tie_word_embeddings,
    )


_MAKERS: dict[type[Any], tuple[str, Callable[[Any], "PreTrainedConfig"]]] = {
    VitSpec: ("ViTForImageClassification", _vit),
    BertSpec: ("BertForSequenceClassification", _bert),
    GptSpec: ("GPT2LMHeadModel", _gpt),
    LlamaSpec: ("LlamaForCausalLM", _llama),
}
_READERS: dict[str, Callable[[Any], Spec]] = {
    "ViTForImageClassification": _read_vit,
    "BertForSequenceClassification": _read_bert,
    "GPT2LMHeadModel": _read_gpt,
    "LlamaForCausalLM": _read_llama,
}
