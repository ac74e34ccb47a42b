"""Tiny random Transformers of every family that structured pruning knows."""

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

from labkit.models.specs import TextTransformerSpec
from labkit.models.text_transformer import TextTransformer

NAMES = ("vit", "bert", "gpt2", "llama", "text")
VOCABULARY, CONTEXT, CLASSES = 19, 12, 3


@dataclass(frozen=True)
class Sizes:
    family: str
    depth: int = 2
    kv_heads: int = 3
    per_group: int = 1  # query heads to each key/value head; Llama's alone
    head_dim: int = 4
    ffn: int = 10
    biases: bool = True  # Llama's, which are off in most checkpoints
    seed: int = 0

    @property
    def heads(self) -> int:
        return self.kv_heads * self.per_group

    @property
    def width(self) -> int:
        return self.heads * self.head_dim


@st.composite
def sizes(draw: st.DrawFn, families: tuple[str, ...] = NAMES) -> Sizes:
    family = draw(st.sampled_from(families))
    return Sizes(
        family=family,
        depth=draw(st.integers(1, 3)),
        kv_heads=draw(st.integers(1, 3)),
        per_group=draw(st.integers(1, 3)) if family == "llama" else 1,
        head_dim=draw(st.sampled_from([2, 4])),
        ffn=draw(st.integers(1, 12)),
        biases=draw(st.booleans()),
        seed=draw(st.integers(0, 1000)),
    )


def net(kind: Sizes | str, dtype: torch.dtype = torch.float64, **config: Any) -> nn.Module:
    """In eval, every parameter random, biases and norms too; the outputs are of size 1 to 10."""
    kind = Sizes(kind) if isinstance(kind, str) else kind
    model = _MAKERS[kind.family](kind, config).eval()
    generator = torch.Generator().manual_seed(kind.seed)
    with torch.no_grad():
        for name, each in model.named_parameters():
            each.copy_(0.3 * torch.randn(each.shape, generator=generator))
            if "norm" in name.lower() or ".ln_" in name:
                each.add_(1 if name.endswith("weight") else 0)
    return model.to(dtype)


def batch(family: str, examples: int = 2, tokens: int = 5, seed: int = 1) -> dict[str, Tensor]:
    """Named arguments. The first text of a batch is padded where the family takes padding."""
    generator = torch.Generator().manual_seed(seed)
    if family == "vit":
        shape = (examples, 2, 8, 8)
        return {"pixel_values": torch.randn(shape, generator=generator, dtype=torch.float64)}
    ids = torch.randint(VOCABULARY, (examples, tokens), generator=generator)
    if family in ("gpt2", "llama"):
        return {"input_ids": ids}
    mask = torch.ones_like(ids)
    mask[0, (tokens + 1) // 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


def logits(model: nn.Module, given: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return scores_of(model, given)


def scores_of(model: nn.Module, given: dict[str, Tensor]) -> Tensor:
    answer = model(**given)
    return answer if isinstance(answer, Tensor) else answer.logits


def loss_of(model: nn.Module, given: dict[str, Tensor]) -> Tensor:
    """A mean over the batch that has a slope everywhere: towards the first class."""
    found = scores_of(model, given).double()
    return -found.log_softmax(-1)[..., 0].mean()


def count(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


def _vit(kind: Sizes, config: dict[str, Any]) -> nn.Module:
    return ViTForImageClassification(
        ViTConfig(
            hidden_size=kind.width, num_hidden_layers=kind.depth, num_channels=2,
            num_attention_heads=kind.heads, intermediate_size=kind.ffn, image_size=8, patch_size=4,
            num_labels=CLASSES, **{"attn_implementation": "eager"} | config,
        )
    )  # fmt: skip


def _bert(kind: Sizes, config: dict[str, Any]) -> nn.Module:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY, hidden_size=kind.width, num_hidden_layers=kind.depth,
            num_attention_heads=kind.heads, intermediate_size=kind.ffn, num_labels=CLASSES,
            max_position_embeddings=CONTEXT, **{"attn_implementation": "eager"} | config,
        )
    )  # fmt: skip


def _gpt2(kind: Sizes, config: dict[str, Any]) -> nn.Module:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY, n_embd=kind.width, n_layer=kind.depth, n_head=kind.heads,
            n_inner=kind.ffn, n_positions=CONTEXT, bos_token_id=0, eos_token_id=0,
            **{"attn_implementation": "eager"} | config,
        )
    )  # fmt: skip


def _llama(kind: Sizes, config: dict[str, Any]) -> nn.Module:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=kind.width, num_hidden_layers=kind.depth,
            num_attention_heads=kind.heads, num_key_value_heads=kind.kv_heads,
            intermediate_size=kind.ffn, max_position_embeddings=CONTEXT, bos_token_id=0,
            eos_token_id=0, attention_bias=kind.biases, mlp_bias=kind.biases,
            **{"attn_implementation": "eager", "tie_word_embeddings": True} | config,
        )
    )  # fmt: skip


def _text(kind: Sizes, config: dict[str, Any]) -> nn.Module:
    return TextTransformer(
        TextTransformerSpec(
            VOCABULARY, kind.width, kind.depth, kind.heads, kind.ffn, CONTEXT, CLASSES
        )
    )


_MAKERS = {"vit": _vit, "bert": _bert, "gpt2": _gpt2, "llama": _llama, "text": _text}
