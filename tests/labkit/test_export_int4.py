"""ONNX with 4-bit weights: what the operator says, and that it answers like its own grid."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from labkit import export
from labkit.models import GptSpec, LlamaSpec, MlpSpec, ResNetSpec, VitSpec, build, logits_in

Array = NDArray[np.generic]


def _operators(path: Path) -> list[onnx.NodeProto]:
    return [n for n in onnx.load(str(path)).graph.node if n.op_type == "MatMulNBits"]


def _settings(node: onnx.NodeProto) -> dict[str, int]:
    return {attribute.name: attribute.i for attribute in node.attribute}


def _halves(packed: Array) -> Array:
    """Two codes from each byte along the last axis, the lower half first."""
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)


def _grid_weight(path: Path, node: onnx.NodeProto) -> Tensor:
    """The weight that a node's codes, scales and zero points stand for, d_out x d_in."""
    known = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer}
    says = _settings(node)
    rows, width, size = says["N"], says["K"], says["block_size"]
    groups = -(-width // size)
    codes = _halves(known[node.input[1]].reshape(rows, -1)).reshape(rows, groups, size)
    scales = known[node.input[2]].reshape(rows, groups, 1)
    zeros: Array | int = 8
    if len(node.input) > 3 and node.input[3]:
        zeros = _halves(known[node.input[3]].reshape(rows, -1))[:, :groups, None]
    weight = (codes.astype(np.float32) - zeros) * scales
    return torch.from_numpy(weight.reshape(rows, -1)[:, :width].astype(np.float32))


def _activation_rounding(x: Tensor, weight: Tensor, size: int) -> Tensor:
    """How far an output may move when activations are rounded to INT8.

    accuracy_level 4 rounds each group of a token's activations to steps of its largest magnitude
    over 127. None moves by more than half a step, so an output moves by at most
    sum over groups of max|x| / 254 * sum|w|.
    """
    bound = torch.zeros(len(x), len(weight))
    for part, columns in zip(x.split(size, dim=1), weight.split(size, dim=1), strict=True):
        bound += part.abs().amax(dim=1, keepdim=True) / 254 * columns.abs().sum(dim=1)
    return bound


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("width", "size"), [(256, 32), (256, 64), (256, 128), (80, 32)])
def test_a_layer_answers_like_its_grid_within_the_rounding_of_activations(
    width: int, size: int, symmetric: bool, tmp_path: Path
) -> None:
    """80 inputs do not divide into groups of 32: the operator pads. 1e-5 is FP32's rounding."""
    torch.manual_seed(0)
    model = build(MlpSpec(width, ()))
    path = export.to_onnx(model, tmp_path / "m.onnx")
    out = export.int4_weight_only(path, tmp_path / "q.onnx", size, symmetric)
    (node,) = _operators(out)
    weight = _grid_weight(out, node)
    x = torch.randn(20, width)
    expected = x @ weight.T + model.layers[0].bias.detach()
    error = (export.predict(out, x) - expected).abs()
    assert (error <= _activation_rounding(x, weight, size) + 1e-5).all()
    step = (weight - model.layers[0].weight.detach()).abs().max()
    assert 0 < step < 0.2 * model.layers[0].weight.abs().max()  # 15 steps over twice the largest


@pytest.mark.parametrize("size", [32, 64, 128])
def test_every_operator_asks_for_accuracy_level_4(size: int, tmp_path: Path) -> None:
    path = export.to_onnx(build(MlpSpec(256, (128,))), tmp_path / "m.onnx")
    settings = [
        _settings(node)
        for node in _operators(export.int4_weight_only(path, tmp_path / "q.onnx", size))
    ]
    assert len(settings) == 2
    for says in settings:
        assert (says["bits"], says["block_size"], says["accuracy_level"]) == (4, size, 4)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("spec", [VitSpec(64, 2, 2, 96), LlamaSpec(64, 64, 2, 4, 2, 96, 32)])
def test_given_codes_answer_like_the_torch_model_on_that_grid(
    spec: VitSpec | LlamaSpec, symmetric: bool, tmp_path: Path
) -> None:
    """INT8 activations err by up to 1/254 of a group's largest in each of two layers: 3 %."""
    torch.manual_seed(0)
    model = build(spec).eval()
    layers = export.round_linears(model, 32, symmetric)
    out = export.int4_packed(model, layers, tmp_path / "q.onnx")
    inputs = next(iter(export.signature_of(model).example(4, 12).values()))
    with torch.no_grad():
        expected = logits_in(export.dequantised(model, layers)(inputs))
        unrounded = logits_in(model(inputs))
    difference = (export.predict(out, inputs) - expected).norm() / expected.norm()
    assert difference < 0.03
    assert (unrounded - expected).norm() / expected.norm() > 2 * difference


def test_given_codes_are_in_the_file_as_they_were_given(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(MlpSpec(96, (64,)))
    layers = export.round_linears(model, 32, symmetric=False)
    out = export.int4_packed(model, layers, tmp_path / "q.onnx")
    stored = [_grid_weight(out, node) for node in _operators(out)]
    for weight, layer in zip(stored, layers.values(), strict=True):
        assert torch.equal(weight, layer.weight())


def test_layers_without_codes_keep_their_weights(tmp_path: Path) -> None:
    model = build(MlpSpec(64, (64, 64)))
    layers = export.round_linears(model)
    del layers["layers.0"]
    out = export.int4_packed(model, layers, tmp_path / "q.onnx")
    assert len(_operators(out)) == 2
    kept = [numpy_helper.to_array(t) for t in onnx.load(str(out)).graph.initializer]
    wanted = model.layers[0].weight.detach().numpy().T
    assert any(np.array_equal(tensor, wanted) for tensor in kept)


def test_embeddings_in_4_bits_take_their_bytes_and_still_answer(tmp_path: Path) -> None:
    """The 512 x 64 table goes from 4 bytes a weight to half a byte and 4 per group of 32, twice:
    a shared output layer has codes of its own."""
    torch.manual_seed(0)
    model = build(LlamaSpec(512, 64, 1, 4, 2, 96, 32)).eval()
    path = export.to_onnx(model, tmp_path / "m.onnx")
    plain = export.int4_weight_only(path, tmp_path / "plain.onnx")
    out = export.int4_weight_only(path, tmp_path / "all.onnx", embeddings=True)
    saved = plain.stat().st_size - out.stat().st_size
    weights = 512 * 64
    assert saved == pytest.approx(weights * 4 - 2 * weights * (0.5 + 4 / 32), rel=0.02)
    windows = torch.randint(512, (3, 16), generator=torch.Generator().manual_seed(1))
    assert torch.isfinite(export.token_losses(out, windows)).all()


def test_convolutions_stay_in_fp32(tmp_path: Path) -> None:
    path = export.to_onnx(build(ResNetSpec(16, 1)), tmp_path / "m.onnx")
    out = export.int4_weight_only(path, tmp_path / "q.onnx")
    operators = [node.op_type for node in onnx.load(str(out)).graph.node]
    assert operators.count("MatMulNBits") == 1
    assert operators.count("Conv") == 9


def test_the_layers_of_gpt_2_are_converted_though_they_are_exported_as_gemm(tmp_path: Path) -> None:
    path = export.to_onnx(build(GptSpec(64, 64, 2, 2, 32)), tmp_path / "m.onnx")
    assert [n.op_type for n in onnx.load(str(path)).graph.node].count("Gemm") == 8
    assert len(_operators(export.int4_weight_only(path, tmp_path / "q.onnx"))) == 8


def test_what_cannot_be_rounded_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = export.to_onnx(build(MlpSpec(64, (32,))), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"group_size is 48; MatMulNBits takes \(16, 32,"):
        export.int4_weight_only(path, tmp_path / "q.onnx", group_size=48)
    bare = export.to_onnx(nn.ReLU(), tmp_path / "bare.onnx", takes=export.images((4,), classes=4))
    with pytest.raises(ValueError, match="no linear layer whose weight could be rounded"):
        export.int4_weight_only(bare, tmp_path / "q.onnx")
    with pytest.raises(ValueError, match="the layers of GPT-2 are Conv1D"):
        gpt = build(GptSpec(64, 32, 1, 2, 16))
        export.int4_packed(gpt, export.round_linears(gpt), tmp_path / "q.onnx")
    model = build(MlpSpec(64, (64,)))
    mixed = export.round_linears(model, 32) | {
        "layers.1": export.round_to_grid(model.layers[1].weight, 16)
    }
    with pytest.raises(ValueError, match=r"mix .*\(16, True\), \(32, True\)"):
        export.int4_packed(model, mixed, tmp_path / "q.onnx")
    with pytest.raises(ValueError, match="'head' with the shape"):
        export.int4_packed(model, {"head": mixed["layers.1"]}, tmp_path / "q.onnx")


@pytest.mark.parametrize("symmetric", [True, False])
def test_rounding_to_nearest_moves_no_weight_by_more_than_half_a_step(symmetric: bool) -> None:
    """Asymmetric: the zero point is rounded as well, and takes up to half a step at the ends."""
    weight = torch.randn(8, 96, generator=torch.Generator().manual_seed(0))
    weight[0] = 0
    layer = export.round_to_grid(weight, 32, symmetric)
    steps = (weight - layer.weight()).abs().unflatten(1, (-1, 32)) / layer.scales.unsqueeze(2)
    assert steps.max() <= (0.5 if symmetric else 1.0) + 1e-5
    assert torch.equal(layer.weight()[0], weight[0])


def test_codes_from_0_to_15_are_refused_with_what_to_do() -> None:
    codes, scales = torch.arange(16).view(1, 16), torch.ones(1, 1)
    with pytest.raises(ValueError, match=r"codes reach from 0 to 15; .* subtract 8"):
        export.PackedLinear(codes, scales, 16)
    with pytest.raises(ValueError, match=r"scales have the shape \(1, 1\); expected \(1, 2\)"):
        export.PackedLinear(codes - 8, scales, 8)
    with pytest.raises(ValueError, match="16 inputs do not divide into groups of 5"):
        export.PackedLinear(codes - 8, scales, 5)
