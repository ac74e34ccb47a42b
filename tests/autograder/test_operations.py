"""What a model computes, counted on graphs whose products can be counted by hand."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from autograder.operations import Operations, count
from autograder.roles import Roles
from labkit import export
from labkit.models import LlamaSpec, build

IMAGE = {"images": np.zeros((1, 3, 8, 8), np.float32)}


class Small(nn.Module):
    """A convolution 3 -> 4 of 3 x 3 on 8 x 8, a depthwise one, and a linear layer 4 -> 5."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4, stride=2)
        self.head = nn.Linear(4, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.depthwise(torch.relu(self.convolution(images)))
        return self.head(hidden.mean(dim=(2, 3)))


MACS = 8 * 8 * 4 * (3 * 9) + 4 * 4 * 4 * 9 + 4 * 5


@pytest.fixture
def fp32(tmp_path: Path) -> Path:
    return export.to_onnx(Small().eval(), tmp_path / "fp32.onnx", export.images((3, 8, 8), 5))


def test_products_of_convolutions_and_matrices_are_counted(fp32: Path) -> None:
    found = count(fp32, IMAGE)
    assert found.macs == MACS
    assert found.bops == MACS * 32 * 32


def test_eight_bits_have_a_sixteenth_of_the_bops(fp32: Path, tmp_path: Path) -> None:
    images = torch.randn(8, 3, 8, 8)
    (edges,) = export.activations(fp32, images)
    spans = {n: (min(0.0, v.min().item()), max(0.0, v.max().item())) for n, v in edges.items()}
    found = count(export.int8_static(fp32, spans, tmp_path / "int8.onnx"), IMAGE)
    assert found.macs == MACS
    assert found.bops * 16 == MACS * 32 * 32
    assert "QLinearConv" in found.kernels


def test_four_bit_weights_are_counted_as_four(tmp_path: Path) -> None:
    spec = LlamaSpec(vocabulary=64, context=16, width=32, depth=1, heads=2, kv_heads=1, ffn=64)
    fp32 = export.to_onnx(build(spec).eval(), tmp_path / "fp32.onnx")
    batch = {"input_ids": np.zeros((1, 8), np.int64)}
    dense = count(fp32, batch)
    packed = count(export.int4_weight_only(fp32, tmp_path / "int4.onnx"), batch)
    assert packed.macs == dense.macs
    assert {p.weight_bits for p in packed.products} == {4, 32}  # attention has no weights
    assert packed.resident_bytes < dense.resident_bytes


def test_half_precision_storage_is_resident_in_full(tmp_path: Path) -> None:
    """A cast of a constant is computed when the model is loaded: smaller on disk alone."""
    half = numpy_helper.from_array(np.ones((64, 64), np.float16), "half")
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["half"], ["full"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["x", "full"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, 64])],
        [half],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "half.onnx")
    found = count(tmp_path / "half.onnx", {"x": np.zeros((1, 64), np.float32)})
    assert found.resident_bytes == 64 * 64 * 4
    assert Roles(graph).of(half) == "weight"


def test_zeros_are_counted_against_the_zero_point(fp32: Path, tmp_path: Path) -> None:
    """Pruned to three quarters, a convolution has as many zeros as codes that stand for zero."""
    model = Small().eval()
    weight = model.convolution.weight.data
    weight[weight.abs() <= weight.abs().quantile(0.75)] = 0.0
    pruned = export.to_onnx(model, tmp_path / "pruned.onnx", export.images((3, 8, 8), 5))
    (edges,) = export.activations(pruned, torch.randn(8, 3, 8, 8))
    spans = {n: (min(0.0, v.min().item()), max(0.0, v.max().item())) for n, v in edges.items()}
    graph = onnx.load(export.int8_static(pruned, spans, tmp_path / "int8.onnx")).graph
    roles = Roles(graph)
    (codes,) = (t for t in graph.initializer if list(t.dims) == [4, 3, 3, 3])
    assert roles.of(codes) == "codes"
    assert roles.zeros(codes) >= 81  # of 108; more round to it
    assert roles.elements(codes) == 108


def test_operations_add_up() -> None:
    assert Operations((), {}, 0).macs == 0
