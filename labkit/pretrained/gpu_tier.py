"""The models that publications of the field compare on, from the hub, for a GPU."""

from labkit.pretrained.architectures import HuggingFace, bert
from labkit.pretrained.entries import Entry, Hub
from labkit.pretrained.pictures import Preparation

BERT_BASE = Entry(
    name="bert_base",
    title="BERT-Base, uncased",
    architecture=bert(768, 12, 12, 3072),
    parameters=109_482_240,
    tier="gpu",
    purpose="the teacher of most published distillation figures",
    licence="Apache-2.0",
    citation="Devlin et al., BERT, 2019, arXiv:1810.04805",
    source=Hub("google-bert/bert-base-uncased", "86b5e0934494bd15c9632b12f734a8a67f723594"),
)

BERT_LARGE = Entry(
    name="bert_large",
    title="BERT-Large, uncased",
    architecture=bert(1024, 24, 16, 4096),
    parameters=335_141_888,
    tier="gpu",
    purpose="encoder to fine-tune, then to prune and to distil",
    licence="Apache-2.0",
    citation="Devlin et al., BERT, 2019, arXiv:1810.04805",
    source=Hub("google-bert/bert-large-uncased", "6da4b6a26a1877e173fca3225479512db81a5e5b"),
)

VIT_B16 = Entry(
    name="vit_b16",
    title="ViT-B/16 at 224, ImageNet-1k",
    architecture=HuggingFace(
        "ViTForImageClassification",
        {
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "image_size": 224,
            "patch_size": 16,
            "num_labels": 1000,
        },
    ),
    parameters=86_567_656,
    tier="gpu",
    purpose="vision Transformer to quantize and to prune",
    licence="Apache-2.0",
    citation="Dosovitskiy et al., An Image is Worth 16x16 Words, 2021, arXiv:2010.11929",
    source=Hub("google/vit-base-patch16-224", "3f49326eb077187dfe1c2a2bb15fbd74e6ab91e3"),
    pictures=Preparation(shorter_side=224, crop=224, mean=127.5, divisor=127.5),
)

GPT2 = Entry(
    name="gpt2",
    title="GPT-2, 124M",
    architecture=HuggingFace(
        "GPT2LMHeadModel",
        {
            "vocab_size": 50257,
            "n_embd": 768,
            "n_layer": 12,
            "n_head": 12,
            "n_positions": 1024,
            "bos_token_id": 50256,
            "eos_token_id": 50256,
        },
    ),
    parameters=124_439_808,
    tier="gpu",
    purpose="small language model that was never quantized before",
    licence="MIT",
    citation="Radford et al., Language Models are Unsupervised Multitask Learners, 2019",
    source=Hub("openai-community/gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e"),
)


def _llama2(width: int, depth: int, heads: int, ffn: int) -> HuggingFace:
    return HuggingFace(
        "LlamaForCausalLM",
        {
            "vocab_size": 32000,
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "intermediate_size": ffn,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
            "tie_word_embeddings": False,
        },
    )


LLAMA2_7B = Entry(
    name="llama2_7b",
    title="Llama-2-7B",
    architecture=_llama2(4096, 32, 32, 11008),
    parameters=6_738_415_616,
    tier="gpu",
    purpose="the model that quantization papers compare on",
    licence="Llama 2 Community Licence",
    citation="Touvron et al., Llama 2, 2023, arXiv:2307.09288",
    source=Hub("meta-llama/Llama-2-7b-hf", "01c7f73d771dfac7d292323805ebc428287df4f9", gated=True),
)

LLAMA2_13B = Entry(
    name="llama2_13b",
    title="Llama-2-13B",
    architecture=_llama2(5120, 40, 40, 13824),
    parameters=13_015_864_320,
    tier="gpu",
    purpose="large language model for GPTQ, AWQ and SmoothQuant",
    licence="Llama 2 Community Licence",
    citation="Touvron et al., Llama 2, 2023, arXiv:2307.09288",
    source=Hub("meta-llama/Llama-2-13b-hf", "5c31dfb671ce7cfe2d7bb7c04375e44c55e815b1", gated=True),
)

MISTRAL_7B = Entry(
    name="mistral_7b",
    title="Mistral-7B-v0.1",
    architecture=HuggingFace(
        "MistralForCausalLM",
        {
            "vocab_size": 32000,
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "intermediate_size": 14336,
            "max_position_embeddings": 32768,
            "sliding_window": 4096,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
            "tie_word_embeddings": False,
        },
    ),
    parameters=7_241_732_096,
    tier="gpu",
    purpose="large language model with grouped-query attention",
    licence="Apache-2.0",
    citation="Jiang et al., Mistral 7B, 2023, arXiv:2310.06825",
    source=Hub("mistralai/Mistral-7B-v0.1", "27d67f1b5f57dc0953326b2601d68371d40ea8da", gated=True),
)

LLAMA3_8B = Entry(
    name="llama3_8b",
    title="Llama-3-8B",
    architecture=HuggingFace(
        "LlamaForCausalLM",
        {
            "vocab_size": 128_256,
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "intermediate_size": 14336,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
            "tie_word_embeddings": False,
            "bos_token_id": 128_000,
            "eos_token_id": 128_001,
        },
    ),
    parameters=8_030_261_248,
    tier="gpu",
    purpose="large language model of which 13 % are embeddings",
    licence="Meta Llama 3 Community Licence",
    citation="Grattafiori et al., The Llama 3 Herd of Models, 2024, arXiv:2407.21783",
    source=Hub(
        "meta-llama/Meta-Llama-3-8B", "8cde5ca8380496c9a6cc7ef3a8b46a0372a1d920", gated=True
    ),
)

ENTRIES = (
    BERT_LARGE, BERT_BASE, VIT_B16, GPT2, LLAMA2_7B, LLAMA2_13B, MISTRAL_7B, LLAMA3_8B,
)  # fmt: skip
