"""What the thresholds of lab 3.1 stand between: `python -m bench.calibrate [--json]`.

The reference solution, the unmodified model, and what naive methods reach, each measured with the
grader's own ruler on this machine. `course_config.py` quotes these numbers in its `basis`;
docs/calibration/lab-3.1.json keeps the run that it quotes.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from autograder import artefact, machine, measure, sandbox
from autograder.baseline import measure_baseline
from autograder.records import Finding
from autograder.ruler import Ruler
from course_config import LAB_3_1
from labkit import baselines, data, export
from reference.quantization.batch_norm import fold_model
from reference.quantization.calibration import min_max
from reference.quantization.onnx_qdq import collect_ranges, quantize_onnx

CALIBRATION_IMAGES = 256
Builder = Callable[[onnx.ModelProto, torch.Tensor], onnx.ModelProto]


@dataclass(frozen=True)
class Row:
    method: str
    compression_ratio: float
    accuracy_kept: float  # percent
    accuracy_kept_low: float
    accuracy_kept_high: float
    speedup: float
    speedup_low: float
    speedup_high: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    as_json = parser.parse_args().json
    isolated = sandbox.find(allow_unsafe=False)
    ruler = Ruler(LAB_3_1, isolated, machine.describe(isolated))
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measured(ruler, Path(folder)))
    if as_json:
        document = {"machine": asdict(ruler.machine), "rows": [asdict(row) for row in rows]}
        json.dump(document, sys.stdout, indent=2)
        print()
        return
    print(f"{'method':<34}{'ratio':>8}{'kept %':>9}{'interval':>17}{'speedup':>9}{'interval':>14}")
    for row in rows:
        kept = f"{row.accuracy_kept_low:.2f}..{row.accuracy_kept_high:.2f}"
        fast = f"{row.speedup_low:.2f}..{row.speedup_high:.2f}"
        print(
            f"{row.method:<34}{row.compression_ratio:>8.3f}{row.accuracy_kept:>9.2f}{kept:>17}"
            f"{row.speedup:>9.2f}{fast:>14}"
        )


def measured(ruler: Ruler, folder: Path) -> Iterator[Row]:
    baseline = measure_baseline(ruler, folder)
    folded = fold_model(baselines.load(LAB_3_1.artefact.baseline))
    fp32 = onnx.load(str(export.to_onnx(folded, folder / "folded.onnx")))
    rows = data.cifar10("train").select(range(CALIBRATION_IMAGES))
    images = data.batch(rows).images
    for method, build in METHODS.items():
        handed_in = folder / method
        handed_in.mkdir()
        raw = build(fp32, images).SerializeToString()
        found = artefact.load(raw, LAB_3_1.artefact, handed_in, ruler.sandbox)
        if isinstance(found, Finding):
            raise SystemExit(f"{method}: {found.message}")
        values = [m.value for m in measure.measure(found, baseline, ruler)]
        ratio, kept, speed = values
        if ratio is None or kept is None or speed is None:
            raise SystemExit(f"{method}: not all three metrics can be measured on this machine")
        yield Row(
            method, ratio.value, kept.value, kept.low, kept.high, speed.value, speed.low, speed.high
        )


def reference_solution(fp32: onnx.ModelProto, images: torch.Tensor) -> onnx.ModelProto:
    return quantize_onnx(fp32, collect_ranges(fp32, images.split(64), min_max))


def calibrated_on_blank_images(fp32: onnx.ModelProto, images: torch.Tensor) -> onnx.ModelProto:
    """A plausible mistake: ranges from a placeholder batch, here one of mean colour."""
    blank = torch.zeros_like(images)
    return quantize_onnx(fp32, collect_ranges(fp32, blank.split(64), min_max))


def calibrated_on_noise(fp32: onnx.ModelProto, images: torch.Tensor) -> onnx.ModelProto:
    """Another: ranges from random numbers of the images' mean and variance."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return quantize_onnx(fp32, collect_ranges(fp32, noise.split(64), min_max))


def unmodified(fp32: onnx.ModelProto, _: torch.Tensor) -> onnx.ModelProto:
    return fp32


def stored_in_fp16(fp32: onnx.ModelProto, _: torch.Tensor) -> onnx.ModelProto:
    """Half the bytes without any thought: FP16 weights, cast to FP32 when the model is loaded."""
    model = onnx.ModelProto()
    model.CopyFrom(fp32)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != "float32":
            continue
        half = f"{tensor.name}_half"
        casts.append(helper.make_node("Cast", [half], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(values.astype("float16"), half))
    nodes = [*casts, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    return model


METHODS: dict[str, Builder] = {
    "unmodified FP32": unmodified,
    "FP16 storage": stored_in_fp16,
    "INT8, calibrated on blank images": calibrated_on_blank_images,
    "INT8, calibrated on noise": calibrated_on_noise,
    "INT8, reference solution": reference_solution,
}

if __name__ == "__main__":
    main()
