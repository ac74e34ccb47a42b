import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch

import labkit
from labkit import export, timing
from labkit.models import Mlp, MlpSpec, ResNet, ResNetSpec, build

Ranges = dict[str, tuple[float, float]]


def _ranges(path: Path, images: torch.Tensor) -> Ranges:
    found: Ranges = {}
    for edges in export.activations(path, images):
        for name, values in edges.items():
            low, high = found.get(name, (0.0, 0.0))
            found[name] = (min(low, values.min().item()), max(high, values.max().item()))
    return found


@pytest.fixture(params=[ResNetSpec(8, 1), ResNetSpec(8, 1, batch_norm=False), MlpSpec(64, (32,))])
def model(request: pytest.FixtureRequest) -> ResNet | Mlp:
    torch.manual_seed(0)
    return build(request.param).eval()


def _images(model: ResNet | Mlp) -> torch.Tensor:
    shape = (8, 3, 32, 32) if isinstance(model, ResNet) else (8, 64)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_fp32_answers_like_torch_for_any_batch_size(model: ResNet | Mlp, tmp_path: Path) -> None:
    """Same arithmetic in another order: 1e-5 is a few hundred FP32 roundings of numbers near 1."""
    path = export.to_onnx(model, tmp_path / "m.onnx")
    for count in (1, 3, 8):
        images = _images(model)[:count]
        assert (export.predict(path, images) - model(images)).abs().max() < 1e-5


def test_static_int8_stays_within_a_few_steps_of_fp32(model: ResNet | Mlp, tmp_path: Path) -> None:
    """Each of a handful of layers adds noise of about a step (1/255 of a range): 5 % bounds it."""
    path = export.to_onnx(model, tmp_path / "m.onnx")
    images = _images(model)
    out = export.int8_static(path, _ranges(path, images), tmp_path / "q.onnx")
    expected = export.predict(path, images)
    assert (export.predict(out, images) - expected).abs().max() < 0.05 * expected.abs().max()
    stored = {tensor.data_type for tensor in onnx.load(str(out)).graph.initializer}
    assert onnx.TensorProto.INT8 in stored


def test_dynamic_int8_stays_within_a_few_steps_of_fp32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(MlpSpec(64, (32,)))
    path = export.to_onnx(model, tmp_path / "m.onnx")
    out = export.int8_dynamic(path, tmp_path / "q.onnx")
    expected = export.predict(path, _images(model))
    assert (
        export.predict(out, _images(model)) - expected
    ).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize("bad", [(1.0, -1.0), (0.0, float("nan")), (float("-inf"), 0.0)])
def test_a_bad_range_is_refused_with_its_edge(bad: tuple[float, float], tmp_path: Path) -> None:
    path = export.to_onnx(build(MlpSpec(64, (32,))), tmp_path / "m.onnx")
    ranges = _ranges(path, torch.randn(4, 64))
    with pytest.raises(ValueError, match="images"):
        export.int8_static(path, ranges | {"images": bad}, tmp_path / "q.onnx")
    del ranges["images"]
    with pytest.raises(ValueError, match="no range for the edge 'images'"):
        export.int8_static(path, ranges, tmp_path / "q.onnx")


def test_pairs_are_timed_on_both_clocks_and_the_interval_holds_the_ratio(tmp_path: Path) -> None:
    path = export.to_onnx(build(MlpSpec(64, (32,))), tmp_path / "m.onnx")
    pairs = timing.time_pairs(path, path, (4, 64), pairs=6, seed=0)
    assert len(pairs) == 6
    assert all(pair.baseline_cpu_ms > 0 and pair.candidate_wall_ms > 0 for pair in pairs)
    found = timing.speedup(pairs)
    assert found.low <= found.ratio <= found.high


def test_importing_labkit_imports_neither_torch_nor_onnxruntime() -> None:
    code = (
        "import sys, labkit; print(sorted({'torch', 'onnxruntime', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_part_of_labkit_is_named() -> None:
    with pytest.raises(AttributeError, match="labkit has no 'trainer'"):
        _ = labkit.trainer
