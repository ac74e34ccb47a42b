"""Fifteen well-known models on `meta`, against figures that were worked out apart from this code.

PRINTED are those figures, to be reproduced to the printed digit. What they leave unsaid:

- Quantized are the linear layers of the repeated blocks. Output layer (Llama), pooler (BERT),
  classifier (ViT) and embeddings are not.
- What is not quantized is in FP16 for the decoders, in INT8's column too, although its baseline
  is FP32; and in FP32 for the encoders, and for GPT-2, whose one ratio is against FP32.
- 4 bits come with an FP16 scale per 128 inputs, 4.125 bits per weight throughout. Rows of 288, 312
  and 1200 inputs need one scale more here, which moves no printed digit.
- INT8 comes without its scales.
- The share of embeddings is that of every table (token, position, segment) and of the output layer.
"""

from dataclasses import dataclass
from functools import cache

import pytest
from torch import nn

from bench import footprint as bench
from labkit import footprint
from labkit.footprint import FP16, FP32, INT8_CHANNEL, W4_G128, Grouped, Storage

INT8_WITHOUT_SCALES = Grouped(bits=8, group_size=None, scale_bits=0)


@dataclass(frozen=True)
class Printed:
    title: str
    parameters: int
    rest: Storage = FP16
    tables: str = ""  # per cent; "" where nothing is printed
    w4_to_fp16: str = ""
    w4_to_fp32: str = ""
    bits: str = ""
    int8_to_fp32: str = ""


PRINTED = (
    Printed("Llama-2-7B", 6_738_415_616, FP16, "3.9", "3.49", "6.98", "4.59", "3.85"),
    Printed("Llama-2-13B", 13_015_864_320, FP16, "2.5", "3.62", "7.23", "4.42", "3.90"),
    Printed("Mistral-7B", 7_241_732_096, FP16, "3.6", "3.51", "7.02", "4.56", "3.86"),
    Printed("Llama-3-8B", 8_030_261_248, FP16, "13.1", "2.82", "5.63", "5.68", "3.54"),
    Printed("Llama-3.2-1B", 1_235_814_400, FP16, "21", "2.41", "4.81", "6.65", "3.30"),
    Printed("stories15M", 15_191_712, FP16, "61", "1.41", "2.82", "11.3", "2.49"),
    Printed("BERT-base", 109_482_240, FP32, "22", "", "3.08", "", "2.39"),
    Printed("BERT-large", 335_141_888, FP32, "9.5", "", "4.65", "", "3.08"),
    Printed("DistilBERT", 66_362_880, FP32, "36", "", "2.26", "", "1.92"),
    Printed("TinyBERT-4", 14_350_248, FP32, "67", "", "1.38", "", "1.31"),
    Printed("MiniLM-L12-H384", 33_360_000, FP32, "", "", "", "", "1.91"),
    Printed("GPT-2", 124_439_808, FP32, "", "", "2.47", "", ""),
    Printed("OPT-125m", 125_239_296),
    Printed("OPT-1.3B", 1_315_758_080),
    Printed("ViT-B/16", 86_567_656),
)


@cache
def _model(title: str) -> nn.Module:
    return bench.model(title)


def _blocks(title: str, inside: Storage, rest: Storage) -> footprint.Ledger:
    return footprint.account(_model(title), footprint.where(footprint.in_block, inside, rest))


def _assert_printed(value: float, printed: str) -> None:
    digits = len(printed.partition(".")[2])
    assert not printed or f"{value:.{digits}f}" == printed


@pytest.mark.parametrize("row", PRINTED, ids=lambda row: row.title)
def test_a_model_takes_what_was_printed_of_it(row: Printed) -> None:
    w4 = _blocks(row.title, W4_G128, row.rest)
    assert w4.parameters == row.parameters
    _assert_printed(100 * w4.embedding_share, row.tables)
    _assert_printed(w4.ratio_to_fp16, row.w4_to_fp16)
    _assert_printed(w4.ratio_to_fp32, row.w4_to_fp32)
    _assert_printed(w4.bits_per_weight, row.bits)
    int8 = _blocks(row.title, INT8_WITHOUT_SCALES, row.rest)
    _assert_printed(int8.ratio_to_fp32, row.int8_to_fp32)


def test_every_printed_model_stands_in_the_bench_and_the_other_way_round() -> None:
    assert {row.title for row in PRINTED} == set(bench.MODELS)


def test_bert_with_its_embeddings_in_int8_but_not_its_pooler() -> None:
    """3.92 is printed; with the pooler in INT8 too it is 3.99."""
    blocks_and_tables = footprint.where(
        lambda tensor: footprint.in_block(tensor) or footprint.is_embedding(tensor),
        INT8_WITHOUT_SCALES,
        FP32,
    )
    found = footprint.account(_model("BERT-base"), blocks_and_tables)
    _assert_printed(found.ratio_to_fp32, "3.92")


def test_int8_scales_cost_a_thousandth_of_a_wide_model_and_more_of_a_narrow_one() -> None:
    """An FP32 scale per row of d bytes is 4 / d of it: 1 / 1024 at 4096 inputs, 1 / 96 at 384."""
    for title, rest, dearest in (("Llama-2-7B", FP16, 1 / 1024), ("MiniLM-L12-H384", FP32, 1 / 96)):
        bare = _blocks(title, INT8_WITHOUT_SCALES, rest)
        scaled = _blocks(title, INT8_CHANNEL, rest)
        assert scaled.parts.codes == bare.parts.codes
        in_blocks = sum(x.stored_bytes for x in bare.lines if footprint.in_block(x.tensor))
        assert dearest / 4 < scaled.parts.scales / in_blocks < dearest


def test_an_output_layer_of_its_own_is_resident_like_a_tied_one() -> None:
    """Llama-3.2-1B stores 128,256 x 2,048 once; where both uses hold a copy it is there twice."""
    found = footprint.account(_model("Llama-3.2-1B"), footprint.always(FP16))
    assert found.resident_bytes - found.stored_bytes == 2 * 128_256 * 2048
    untied = footprint.account(_model("Llama-3-8B"), footprint.always(FP16))
    assert untied.resident_bytes == untied.stored_bytes == 2 * untied.parameters
