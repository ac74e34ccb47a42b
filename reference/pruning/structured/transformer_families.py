"""What each family of Transformers calls its parts: the only place with names of modules.

Names change with versions, so a part has alternatives, and the first that a model has is meant.

Source    The modules and configs of transformers 5.23 (vit, bert, gpt2, llama), and of 4.x where
          ViT's names differ; an encoder of one's own with each projection as a layer.
Read      architecture.py turns a model into a record by these tables.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What the sizes are called in a config, or in the spec of a network that has no config."""

    depth: str
    width: str
    heads: str
    ffn: str
    kv_heads: str | None = None
    head_dim: str | None = None  # None: the width divided by the heads, and nothing else
    heads_divide_width: bool = True  # a config in which they do not is refused when it is read


@dataclass(frozen=True)
class Family:
    """Alternatives in the order in which they are looked up, relative to the base or the block."""

    base: str
    layers: tuple[str, ...]
    attention: tuple[str, ...]
    query: tuple[str, ...]
    key: tuple[str, ...]
    value: tuple[str, ...]
    out: tuple[str, ...]
    expand: tuple[str, ...]
    contract: tuple[str, ...]
    norms: tuple[str, str]
    embeddings: tuple[str, ...]
    norm: str
    settings: Settings
    gate: str | None = None
    tables: tuple[str, ...] = ()
    pooler_follows: bool = False


_HF = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
_VIT = Family(
    base="vit",
    layers=("layers", "encoder.layer"),
    attention=("attention.attention", "attention"),
    query=("attention.q_proj", "attention.attention.query"),
    key=("attention.k_proj", "attention.attention.key"),
    value=("attention.v_proj", "attention.attention.value"),
    out=("attention.o_proj", "attention.output.dense"),
    expand=("mlp.fc1", "intermediate.dense"),
    contract=("mlp.fc2", "output.dense"),
    norms=("layernorm_before", "layernorm_after"),
    embeddings=("embeddings.patch_embeddings.projection",),
    norm="layernorm",
    settings=Settings(*_HF, head_dim="head_dim", heads_divide_width=False),
    tables=("embeddings.cls_token", "embeddings.mask_token", "embeddings.position_embeddings"),
)
_BERT = Family(
    base="bert",
    layers=("encoder.layer",),
    attention=("attention.self",),
    query=("attention.self.query",),
    key=("attention.self.key",),
    value=("attention.self.value",),
    out=("attention.output.dense",),
    expand=("intermediate.dense",),
    contract=("output.dense",),
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
    embeddings=tuple(
        f"embeddings.{kind}_embeddings" for kind in ("word", "position", "token_type")
    ),
    norm="embeddings.LayerNorm",
    settings=Settings(*_HF),
    pooler_follows=True,
)
_GPT2 = Family(
    base="transformer",
    layers=("h",),
    attention=("attn",),
    query=("attn.c_attn",),
    key=("attn.c_attn",),
    value=("attn.c_attn",),
    out=("attn.c_proj",),
    expand=("mlp.c_fc",),
    contract=("mlp.c_proj",),
    norms=("ln_1", "ln_2"),
    embeddings=("wte", "wpe"),
    norm="ln_f",
    settings=Settings("n_layer", "n_embd", "n_head", "n_inner"),
)
_LLAMA = Family(
    base="model",
    layers=("layers",),
    attention=("self_attn",),
    query=("self_attn.q_proj",),
    key=("self_attn.k_proj",),
    value=("self_attn.v_proj",),
    out=("self_attn.o_proj",),
    expand=("mlp.up_proj",),
    gate="mlp.gate_proj",
    contract=("mlp.down_proj",),
    norms=("input_layernorm", "post_attention_layernorm"),
    embeddings=("embed_tokens",),
    norm="norm",
    settings=Settings(*_HF, kv_heads="num_key_value_heads", head_dim="head_dim"),
)
_TEXT = Family(
    base="",
    layers=("layers",),
    attention=("attention",),
    query=("attention.query",),
    key=("attention.key",),
    value=("attention.value",),
    out=("attention.out",),
    expand=("expand",),
    contract=("contract",),
    norms=("attention_norm", "ffn_norm"),
    embeddings=("tokens", "positions"),
    norm="norm",
    settings=Settings("depth", "width", "heads", "ffn"),
)
FAMILIES = {
    "ViTModel": _VIT, "ViTForImageClassification": _VIT,
    "BertModel": _BERT, "BertForSequenceClassification": _BERT, "BertForTokenClassification": _BERT,
    "GPT2Model": _GPT2, "GPT2LMHeadModel": _GPT2,
    "LlamaModel": _LLAMA, "LlamaForCausalLM": _LLAMA,
    "TextTransformer": _TEXT,
}  # fmt: skip
