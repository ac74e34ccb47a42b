"""Folders in the compressed-tensors layout: what is in them, and who loads them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from labkit import baselines, export
from labkit.evaluation import logits
from labkit.export import bitmask
from labkit.models import (
    BertSpec,
    GptSpec,
    LlamaSpec,
    MlpSpec,
    ResNetSpec,
    Spec,
    TextTransformerSpec,
    VitSpec,
    build,
)

LLAMA = LlamaSpec(64, 64, 2, 4, 2, 96, 32)
PACKABLE: dict[str, Spec] = {
    "mlp": MlpSpec(64, (64,)),
    "text_transformer": TextTransformerSpec(64, 64, 2, 2, 96, 16),
    "vit": VitSpec(64, 2, 2, 96, classes=5),
    "bert": BertSpec(64, 64, 2, 2, 96, 32),
    "llama": LLAMA,
    "llama_untied": LlamaSpec(64, 64, 2, 4, 2, 96, 32, tied=False),
}
SPARSE: dict[str, Spec] = PACKABLE | {"resnet": ResNetSpec(8, 1), "gpt": GptSpec(64, 64, 2, 2, 32)}
IDS = torch.arange(24).view(2, 12)


def _built(spec: Spec, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(spec).eval()


def _pruned(model: nn.Module, share: float) -> nn.Module:
    for weight in (p.data for p in model.parameters() if p.dim() > 1):
        weight[torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) < share] = 0
    return model


def _assert_same_weights(found: nn.Module, expected: nn.Module) -> None:
    wanted = expected.state_dict()
    assert found.state_dict().keys() == wanted.keys()
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, wanted[name]), name


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("family", PACKABLE)
def test_packed_codes_come_back_as_the_weights_they_stand_for(
    family: str, symmetric: bool, tmp_path: Path
) -> None:
    model = _built(PACKABLE[family])
    layers = export.round_linears(model, 32, symmetric)
    export.save_packed_int4(model, tmp_path, layers)
    loaded = export.load_compressed(tmp_path, _built(PACKABLE[family], seed=1))
    _assert_same_weights(loaded, export.dequantised(model, layers))


@pytest.mark.parametrize("family", SPARSE)
def test_a_sparse_model_comes_back_exactly(family: str, tmp_path: Path) -> None:
    model = _pruned(_built(SPARSE[family]), 0.8)
    export.save_sparse_bitmask(model, tmp_path)
    loaded = export.load_compressed(tmp_path, _built(SPARSE[family], seed=1))
    _assert_same_weights(loaded, model)


def test_a_packed_layer_takes_half_a_byte_per_weight_and_four_per_group(tmp_path: Path) -> None:
    model = _built(LLAMA)
    export.save_packed_int4(model, tmp_path, export.round_linears(model, 32, symmetric=False))
    stored = load_file(tmp_path / "model.safetensors")
    name = "model.layers.0.mlp.up_proj"  # 96 x 64
    parts = {key.removeprefix(f"{name}."): t for key, t in stored.items() if key.startswith(name)}
    sizes = {field: (tuple(tensor.shape), tensor.dtype) for field, tensor in parts.items()}
    assert sizes == {
        "weight_packed": ((96, 8), torch.int32),
        "weight_scale": ((96, 2), torch.float32),
        "weight_shape": ((2,), torch.int64),
        "weight_zero_point": ((12, 2), torch.int32),
    }
    assert parts["weight_shape"].tolist() == [96, 64]


def test_the_first_code_is_in_the_lowest_bits_counted_from_8(tmp_path: Path) -> None:
    """-8..-1 as 0..7 are 0x76543210, and 0..7 as 8..15 are 0xFEDCBA98 in two's complement."""
    model = _built(MlpSpec(16, ()))
    codes = torch.arange(-8, 8, dtype=torch.int8).repeat(10, 1)
    layers = {"layers.0": export.PackedLinear(codes, torch.ones(10, 1), 16)}
    export.save_packed_int4(model, tmp_path, layers)
    packed = load_file(tmp_path / "model.safetensors")["layers.0.weight_packed"]
    assert packed[0].tolist() == [0x76543210, 0xFEDCBA98 - 2**32]


def test_a_bitmask_has_one_bit_per_place_the_first_in_the_lowest() -> None:
    dense = torch.tensor([[0.0, 2.0, 0, 0, 0, 0, 0, 0, 3.0], [0, 0, 0, 0, 0, 0, 0, 4.0, 0]])
    packed = bitmask.compress(dense)
    assert packed.compressed.tolist() == [2, 3, 4]
    assert packed.bitmask.tolist() == [[0b10, 1], [0b10000000, 0]]
    assert packed.row_offsets.tolist() == [0, 2]
    assert packed.shape.tolist() == [2, 9]


def test_a_dense_weight_is_not_stored_larger_as_a_sparse_one(tmp_path: Path) -> None:
    model = _built(MlpSpec(64, (64,)))
    export.save_sparse_bitmask(model, tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == model.state_dict().keys()


@pytest.mark.parametrize("family", ["vit", "bert", "llama", "llama_untied"])
def test_transformers_loads_symmetric_codes(family: str, tmp_path: Path) -> None:
    """Same weights, same arithmetic: 1e-5 leaves room for another order of sums."""
    model = _built(PACKABLE[family])
    layers = export.round_linears(model)
    export.save_packed_int4(model, tmp_path, layers)
    loaded = _auto(family).from_pretrained(tmp_path).eval()
    inputs = export.signature_of(model).example(2, 12).get("images", IDS)
    with torch.no_grad():
        expected = export.dequantised(model, layers)(inputs).logits
        assert (loaded(inputs).logits - expected).abs().max() < 1e-5
        assert (model(inputs).logits - expected).abs().max() > 1e-4  # the grid is another model


@pytest.mark.parametrize("family", ["vit", "bert", "llama"])
def test_transformers_loads_asymmetric_codes_only_when_told_to_dequantize(
    family: str, tmp_path: Path
) -> None:
    """transformers 5.23 with compressed-tensors 0.19: zero points are packed in the file, and the
    module made to receive them is not."""
    from transformers import CompressedTensorsConfig

    model = _built(PACKABLE[family])
    layers = export.round_linears(model, symmetric=False)
    export.save_packed_int4(model, tmp_path, layers)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        _auto(family).from_pretrained(tmp_path)
    told = CompressedTensorsConfig(dequantize=True)
    loaded = _auto(family).from_pretrained(tmp_path, quantization_config=told).eval()
    inputs = export.signature_of(model).example(2, 12).get("images", IDS)
    with torch.no_grad():
        expected = export.dequantised(model, layers)(inputs).logits
        assert (loaded(inputs).logits - expected).abs().max() < 1e-5


@pytest.mark.parametrize("family", ["mlp", "text_transformer"])
def test_transformers_has_no_class_for_networks_of_ours(family: str, tmp_path: Path) -> None:
    model = _built(PACKABLE[family])
    export.save_packed_int4(model, tmp_path, export.round_linears(model))
    with pytest.raises(ValueError, match="Unrecognized model"):
        _auto("bert").from_pretrained(tmp_path)


def test_transformers_does_not_read_bitmasks_and_only_says_that_weights_are_missing(
    tmp_path: Path,
) -> None:
    from transformers import AutoModelForCausalLM

    export.save_sparse_bitmask(_pruned(_built(LLAMA), 0.8), tmp_path)
    _, said = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert "model.layers.0.mlp.up_proj.weight" in said["missing_keys"]
    assert "model.layers.0.mlp.up_proj.bitmask" in said["unexpected_keys"]


def _auto(family: str) -> type:
    import transformers

    return {
        "vit": transformers.AutoModelForImageClassification,
        "bert": transformers.AutoModelForSequenceClassification,
    }.get(family, transformers.AutoModelForCausalLM)


def test_layers_of_another_model_are_refused(tmp_path: Path) -> None:
    model = _built(LLAMA)
    with pytest.raises(ValueError, match="there are no layers"):
        export.save_packed_int4(model, tmp_path, {})
    tied = {"lm_head": export.round_to_grid(model.lm_head.weight)}
    with pytest.raises(ValueError, match=r"'lm_head' .* is no linear layer .* weight of its own"):
        export.save_packed_int4(model, tmp_path, tied)


def test_a_folder_that_is_no_checkpoint_of_ours_is_refused(tmp_path: Path) -> None:
    model = _built(MlpSpec(64, (64,)))
    with pytest.raises(ValueError, match=r"has no config\.json"):
        export.load_compressed(tmp_path, model)
    export.save_packed_int4(model, tmp_path, export.round_linears(model))
    with pytest.raises(ValueError, match=r"another model: only one of the two has layers\.2\.bias"):
        export.load_compressed(tmp_path, _built(MlpSpec(64, (64, 64))))
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"]["format"] = "marlin"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="neither pack-quantized nor sparse-bitmask"):
        export.load_compressed(tmp_path, model)


def test_a_trained_baseline_answers_alike_from_every_format(tmp_path: Path) -> None:
    """resnet_cifar10 on noise. FP32 in another order of sums; INT8 within 5 %, as for fresh
    networks; the 4-bit head has 15 steps, each 7 % of the largest weight of its group."""
    model = baselines.load("resnet_cifar10")
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = logits(model, images)
    fp32 = export.to_onnx(model, tmp_path / "fp32.onnx")
    edges = next(export.activations(fp32, images))
    ranges = {name: (value.min().item(), value.max().item()) for name, value in edges.items()}
    served = (
        (1e-5, fp32),
        (0.05, export.int8_static(fp32, ranges, tmp_path / "static.onnx")),
        (0.05, export.int8_dynamic(fp32, tmp_path / "dynamic.onnx")),
        (0.07, export.int4_weight_only(fp32, tmp_path / "int4.onnx")),
    )
    for bound, path in served:
        assert (export.predict(path, images) - expected).norm() < bound * expected.norm(), path
    layers = export.round_linears(model)
    export.save_packed_int4(model, tmp_path / "packed", layers)
    export.save_sparse_bitmask(model, tmp_path / "sparse")
    fresh = build(ResNetSpec())
    _assert_same_weights(export.load_compressed(tmp_path / "sparse", fresh), model)
    _assert_same_weights(
        export.load_compressed(tmp_path / "packed", fresh), export.dequantised(model, layers)
    )
