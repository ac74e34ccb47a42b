"""What well-known models take, counted without their weights: `python -m bench.footprint`.

Everything follows from shapes, and is the same on every machine. The tables are those of
docs/footprint.md.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from labkit import footprint, pretrained
from labkit.footprint import FP16, FP32, INT8_CHANNEL, W4_G128, Precision
from labkit.pretrained import architectures
from labkit.pretrained.architectures import Architecture, HuggingFace, bert

TOKENS = 128  # of the text whose MACs are counted
PIXELS = 224


@dataclass(frozen=True)
class Row:
    """One model; ratios are bytes of the dense model over bytes."""

    title: str
    parameters: int
    embedding_share: float
    w4: footprint.Ledger  # blocks in 4 bits, groups of 128; the rest in FP16
    w4_rest_fp32: footprint.Ledger
    int8: footprint.Ledger  # blocks in INT8 per channel; the rest in FP16
    int8_rest_fp32: footprint.Ledger
    int8_everything: footprint.Ledger
    operations: footprint.Operations  # of one text of 128 tokens, or one picture


def _opt(width: int, depth: int, heads: int) -> HuggingFace:
    """Zhang et al., OPT, 2022, arXiv:2205.01068, table 1."""
    fields = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads}
    wide = {"ffn_dim": 4 * width, "word_embed_proj_dim": width}
    return HuggingFace("OPTForCausalLM", {"vocab_size": 50272, **fields, **wide})


def _llama(vocabulary: int, width: int, depth: int, heads: int, kv: int, ffn: int) -> HuggingFace:
    """A decoder in Llama's layout whose output layer is the embedding."""
    return HuggingFace(
        "LlamaForCausalLM",
        {
            "vocab_size": vocabulary,
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "num_key_value_heads": kv,
            "intermediate_size": ffn,
            "tie_word_embeddings": True,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    )


def _known(name: str) -> Architecture:
    return pretrained.entry(name).architecture


MODELS: dict[str, Architecture] = {
    "Llama-2-7B": _known("llama2_7b"),
    "Llama-2-13B": _known("llama2_13b"),
    "Mistral-7B": _known("mistral_7b"),
    "Llama-3-8B": _known("llama3_8b"),
    # meta-llama/Llama-3.2-1B, config.json
    "Llama-3.2-1B": _llama(128_256, 2048, 16, 32, 8, 8192),
    # Karpathy, llama2.c, 2023
    "stories15M": _llama(32_000, 288, 6, 6, 6, 768),
    "GPT-2": _known("gpt2"),
    "OPT-125m": _opt(768, 12, 12),
    "OPT-1.3B": _opt(2048, 24, 32),
    "BERT-base": _known("bert_base"),
    "BERT-large": _known("bert_large"),
    # Sanh et al., DistilBERT, 2019, arXiv:1910.01108: the defaults of its class
    "DistilBERT": HuggingFace("DistilBertModel", {"vocab_size": 30522}),
    # Jiao et al., TinyBERT, 2020, arXiv:1909.10351
    "TinyBERT-4": bert(312, 4, 12, 1200),
    # Wang et al., MiniLM, 2020, arXiv:2002.10957
    "MiniLM-L12-H384": bert(384, 12, 12, 1536),
    "ViT-B/16": _known("vit_b16"),
}


def main() -> None:
    found = [row(title) for title in MODELS]
    print(bytes_table(found))
    print()
    print(operations_table(found))


def model(title: str) -> nn.Module:
    """One of `MODELS`, on `meta`."""
    return architectures.build(MODELS[title], "meta").eval()


def row(title: str) -> Row:
    built = model(title)
    w4 = footprint.account(built, footprint.where(footprint.in_block, W4_G128, FP16))
    return Row(
        title,
        w4.parameters,
        w4.embedding_share,
        w4,
        footprint.account(built, footprint.where(footprint.in_block, W4_G128, FP32)),
        footprint.account(built, footprint.where(footprint.in_block, INT8_CHANNEL, FP16)),
        footprint.account(built, footprint.where(footprint.in_block, INT8_CHANNEL, FP32)),
        footprint.account(built, footprint.always(INT8_CHANNEL)),
        footprint.operations(built, example(title)),
    )


def example(title: str) -> torch.Tensor:
    """A text of 128 tokens or a picture, without values."""
    if architectures.reads_text(MODELS[title]):
        return torch.empty(1, TOKENS, dtype=torch.int64, device="meta")
    return torch.empty(1, 3, PIXELS, PIXELS, device="meta")


def bytes_table(rows: list[Row]) -> str:
    head = (
        "model", "parameters", "tables", "W4, rest FP16: MB", "to FP16", "to FP32", "bits",
        "W4, rest FP32", "INT8, rest FP16", "INT8, rest FP32", "INT8 throughout",
    )  # fmt: skip
    return _table(head, [_bytes_cells(each) for each in rows])


def operations_table(rows: list[Row]) -> str:
    head = ("model", "GMACs", "TBOPS FP32", "FP16", "W8A8", "W4A8")
    return _table(head, [_operations_cells(each) for each in rows])


def _operations_cells(each: Row) -> tuple[str, ...]:
    in_blocks = {
        name.rpartition(".")[0]
        for line in each.w4.lines
        if footprint.in_block(line.tensor)
        for name in line.tensor.uses
    }

    def tera(weight: int, activation: int, rest: int) -> str:
        inside, outside = Precision(weight, activation), Precision(rest, rest)
        bops = each.operations.bops(lambda name: inside if name in in_blocks else outside)
        return _digits(bops / 1e12)

    bits = ((32, 32, 32), (16, 16, 16), (8, 8, 16), (4, 8, 16))
    return (each.title, _digits(each.operations.macs / 1e9), *(tera(*chosen) for chosen in bits))


def _bytes_cells(each: Row) -> tuple[str, ...]:
    return (
        each.title,
        f"{each.parameters:,}",
        f"{100 * each.embedding_share:.1f} %",
        f"{each.w4.stored_bytes / 1e6:,.1f}",
        f"{each.w4.ratio_to_fp16:.2f}",
        f"{each.w4.ratio_to_fp32:.2f}",
        f"{each.w4.bits_per_weight:.2f}",
        f"{each.w4_rest_fp32.ratio_to_fp32:.2f}",
        f"{each.int8.ratio_to_fp32:.2f}",
        f"{each.int8_rest_fp32.ratio_to_fp32:.2f}",
        f"{each.int8_everything.ratio_to_fp32:.2f}",
    )


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    rule = ("---", *("---:" for _ in head[1:]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _digits(value: float) -> str:
    """At least three of them."""
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}"


if __name__ == "__main__":
    main()
