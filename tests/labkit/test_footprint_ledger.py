"""What counts as what: tensors of a module, the sums over them, and zeros."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from labkit import footprint
from labkit.footprint import FP16, FP32, INT8_CHANNEL, W4_G128, Dense, Parts
from labkit.models import BertSpec, GptSpec, LlamaSpec, ResNetSpec, build


def _kinds(model: nn.Module) -> dict[str, str]:
    return {tensor.name: tensor.kind for tensor in footprint.tensors(model)}


def test_it_loads_no_library_beyond_torch() -> None:
    code = "import labkit.footprint, sys; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_tied_output_layer_is_the_embedding_stored_once_and_resident_twice() -> None:
    model = build(LlamaSpec(64, 32, 1, 2, 2, 48, 16))
    found = footprint.account(model, footprint.always(FP32))
    line = next(x for x in found.lines if len(x.tensor.uses) == 2)
    assert line.tensor.kind == "embedding"
    assert line.tensor.uses == ("model.embed_tokens.weight", "lm_head.weight")
    assert line.stored_bytes == 4 * 64 * 32
    assert found.resident_bytes == found.stored_bytes + line.stored_bytes
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.ratio_to_fp32 == 1 and found.ratio_to_fp16 == 0.5


def test_an_output_layer_of_its_own_is_no_layer_of_a_block() -> None:
    model = build(LlamaSpec(64, 32, 1, 2, 2, 48, 16, tied=False))
    found = footprint.account(model, footprint.where(footprint.in_block, W4_G128, FP16))
    by_name = {line.tensor.name: line for line in found.lines}
    assert by_name["lm_head.weight"].storage == by_name["model.embed_tokens.weight"].storage == FP16
    assert by_name["model.layers.0.mlp.up_proj.weight"].storage == W4_G128
    assert found.embedding_share == 2 * 64 * 32 / found.parameters
    assert found.embedding_byte_share == 2 * 2 * 64 * 32 / found.stored_bytes


def test_an_embedding_is_one_whichever_use_comes_first() -> None:
    model = nn.ModuleDict({"answer": nn.Linear(4, 10, bias=False), "table": nn.Embedding(10, 4)})
    model["answer"].weight = model["table"].weight
    (shared,) = footprint.tensors(model)
    assert (shared.kind, shared.name) == ("embedding", "answer.weight")


def test_a_convolution_in_a_repeated_layer_is_not_what_gptq_quantizes() -> None:
    model = nn.ModuleList([nn.Conv2d(2, 2, 3, bias=False), nn.Linear(2, 2, bias=False)])
    assert [footprint.in_block(x) for x in footprint.tensors(model)] == [False, True]
    assert all(footprint.is_matrix(x) for x in footprint.tensors(model))


def test_a_pooler_and_a_classifier_are_linear_but_in_no_block() -> None:
    model = build(BertSpec(64, 32, 1, 2, 48, 32))  # positions and pooler: both 32 x 32
    kinds = _kinds(model)
    assert kinds["bert.pooler.dense.weight"] == kinds["classifier.weight"] == "linear"
    assert kinds["bert.embeddings.position_embeddings.weight"] == "embedding"
    blocks = [x.name for x in footprint.tensors(model) if footprint.in_block(x)]
    assert len(blocks) == 6
    assert all(name.startswith("bert.encoder.layer.0.") for name in blocks)


def test_gpt2s_layers_have_their_outputs_in_the_second_axis() -> None:
    """A scale per output: 3 x 32 of them for query, key and value, not 32."""
    model = build(GptSpec(64, 32, 1, 2, 16))
    found = footprint.account(model, footprint.where(footprint.in_block, INT8_CHANNEL, FP32))
    line = next(x for x in found.lines if x.tensor.name.endswith("c_attn.weight"))
    assert line.tensor.shape == (32, 96)
    assert line.parts == Parts(codes=32 * 96, scales=4 * 96)


def test_a_transposed_convolutions_outputs_are_its_channels() -> None:
    (weight, bias) = footprint.tensors(nn.ConvTranspose2d(4, 6, 3, groups=2))
    assert (weight.kind, weight.shape, weight.outputs) == ("conv", (4, 3, 3, 3), 6)
    assert weight.inputs == 18
    assert (bias.kind, bias.outputs, bias.inputs) == ("other", 1, 6)


def test_attentions_joint_projection_is_a_linear_weight() -> None:
    kinds = _kinds(nn.MultiheadAttention(8, 2, add_bias_kv=True))
    assert kinds["in_proj_weight"] == kinds["out_proj.weight"] == "linear"
    assert kinds["bias_k"] == kinds["in_proj_bias"] == "other"


def test_buffers_take_bytes_and_are_no_parameters() -> None:
    """A batch norm of 8 channels: 16 parameters, 16 running values, and an int64 counter."""
    norm = nn.BatchNorm2d(8)
    found = footprint.account(norm, footprint.always(FP16))
    assert found.parameters == 16
    assert found.stored_bytes == 2 * 32 + 8
    assert found.ratio_to_fp32 == (4 * 32 + 8) / (2 * 32 + 8)
    assert found.ratio_to_fp16 == 1
    assert found.bits_per_weight == 8 * 72 / 16
    assert found.lines[-1].storage == Dense(64)


def test_masks_and_numbers_rounded_in_fp32_save_nothing() -> None:
    """Pruning by mask stores the mask beside the weight; 4-bit values in FP32 are FP32."""
    layer = nn.Linear(8, 4, bias=False)
    dense = footprint.account(layer, footprint.as_it_is)
    assert dense.stored_bytes == 4 * 32
    prune.l1_unstructured(layer, "weight", 0.9)
    masked = footprint.account(layer, footprint.as_it_is)
    assert masked.stored_bytes == 2 * dense.stored_bytes
    assert masked.parameters == dense.parameters
    assert masked.ratio_to_fp32 == 1


def test_half_precision_models_are_compared_with_what_they_would_take_in_fp32() -> None:
    found = footprint.account(nn.Linear(8, 4).bfloat16(), footprint.as_it_is)
    assert (found.stored_bytes, found.ratio_to_fp32, found.ratio_to_fp16) == (72, 2, 1)


@given(st.integers(1, 7), st.integers(0, 16))
def test_a_whole_models_bytes_rise_with_the_bits(bits: int, scale: int) -> None:
    model = build(ResNetSpec(8, 1))

    def size(code_bits: int, scale_bits: int) -> int:
        storage = footprint.Grouped(code_bits, 32, scale_bits)
        return footprint.account(
            model, footprint.where(footprint.is_matrix, storage, FP16)
        ).stored_bytes

    assert size(bits, scale) < size(bits + 1, scale) < size(bits + 1, scale + 1)


def test_the_parts_add_up() -> None:
    model = build(LlamaSpec(64, 32, 1, 2, 2, 48, 16))
    rule = footprint.where(
        footprint.in_block,
        footprint.Grouped(4, 16, 16, zero_bits=4),
        footprint.where(footprint.is_embedding, footprint.Bitmap(0.5, 16), FP16),
    )
    found = footprint.account(model, rule)
    assert found.parts.total == found.stored_bytes
    assert min(found.parts.scales, found.parts.zero_points, found.parts.positions) > 0


def test_zeros_are_counted_over_prunable_weights_and_over_everything() -> None:
    """Half of 8 x 4 linear weights; the tables' zeros and a zero bias count in `of_all` alone."""
    model = nn.ModuleDict({"table": nn.Embedding(10, 4), "layer": nn.Linear(4, 8)})
    state = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    state["layer.weight"][:4] = 0
    state["table.weight"][0] = 0
    state["layer.bias"][:] = 0
    found = footprint.sparsity(model.to("meta"), state)
    assert found == footprint.Sparsity(16 + 4 + 8, 40 + 32 + 8, 16, 32)
    assert (found.of_prunable, found.of_all) == (0.5, 28 / 80)


def test_convolutions_are_prunable_and_running_statistics_are_not_parameters() -> None:
    model = build(ResNetSpec(8, 1))
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith("conv.weight"):
            value.zero_()
    found = footprint.sparsity(model, state)
    assert found.prunable_zeros == found.prunable - model.head.weight.numel()
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.zeros >= found.prunable_zeros  # norms begin with biases of zero


def test_a_shared_tensor_is_found_under_either_name() -> None:
    model = build(LlamaSpec(64, 32, 1, 2, 2, 48, 16))
    state = model.state_dict()
    expected = footprint.sparsity(model, state)
    del state["model.embed_tokens.weight"]
    assert footprint.sparsity(model, state) == expected


def test_a_state_of_another_model_is_refused() -> None:
    layer = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="the state has no weight"):
        footprint.sparsity(layer, {})
    with pytest.raises(ValueError, match=r"weight has the shape \(2, 3\) on meta; expected values"):
        footprint.sparsity(layer, layer.to("meta").state_dict())
    with pytest.raises(ValueError, match=r"weight has the shape \(2, 4\) on cpu"):
        footprint.sparsity(layer, nn.Linear(4, 2).state_dict())


def test_a_model_without_prunable_weights_has_no_zeros_to_speak_of() -> None:
    found = footprint.sparsity(nn.LayerNorm(4), nn.LayerNorm(4).state_dict())
    assert (found.of_prunable, found.of_all) == (0.0, 0.5)  # the fresh bias
