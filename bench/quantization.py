"""This project's quantizers beside those of the field, on the same layer and the same networks.

    python -m bench.quantization [anchors layer speed llama resnet] [--json]

    anchors   output error of rounding, AWQ, GPTQ and SmoothQuant on eight layers with outliers
    layer     one such layer by every library that quantizes single layers
    speed     GPTQ of a layer of 2048 x 2048: seconds and memory
    llama     hidden perplexity of the baseline llama_sotu, linear layers in groups of 32
    resnet    hidden accuracy of the baseline resnet_cifar10 in static INT8

Every library runs in a process and an environment of its own (bench/peers), made on first use, with
two threads. Seconds are those of quantizing alone; memory is what the process grew by meanwhile.
The ratios are to this project's own figures in the same run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import onnx
import onnxruntime
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from bench.outlier_layers import anchors, outlier_layer
from bench.peers.environments import python_of
from labkit import baselines, data, evaluation, tokenizers
from labkit.baselines.resnet_cifar10 import RECIPE as RESNET
from labkit.text import windows

PEERS = Path(__file__).parent / "peers"
OURS = "ours"
HERE = (OURS, "onnx_runtime")  # run in this project's environment
CALIBRATION_WINDOWS, CONTEXT, IMAGES = 128, 128, 500


@dataclass(frozen=True)
class Question:
    """What a library is asked; the fields of task.json."""

    name: str
    method: str
    bits: int
    group_size: int
    act_order: bool = False


@dataclass(frozen=True)
class Answer:
    """What a library made of it, or why it did not."""

    library: str
    question: Question
    quality: float | None = None
    seconds: float | None = None
    peak_mib: float | None = None
    version: str = ""
    refused: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", default=[*PARTS])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    for part in arguments.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}; there are {', '.join(PARTS)}")
        found, heading = PARTS[part]()
        rows = [asdict(each) if isinstance(each, Answer) else each for each in found]
        print(json.dumps(rows, indent=2) if arguments.json else table(part, heading, found))


def table(part: str, heading: str, found: Sequence["Answer | dict[str, float | str]"]) -> str:
    if not isinstance(found[0], Answer):
        return _plain_table(part, [each for each in found if isinstance(each, dict)])
    answers = [each for each in found if isinstance(each, Answer)]
    lines = [
        f"\n{part}\n",
        f"| library | method | bits | {heading} | seconds | to ours | MiB | to ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_row(each, answers) for each in answers])


def _row(answer: Answer, answers: Sequence[Answer]) -> str:
    asked = answer.question
    method = asked.method + (", act-order" if asked.act_order else "")
    name = f"{answer.library} {answer.version}".strip()
    start = f"| {name} | {method} | {asked.bits} |"
    if answer.quality is None or answer.seconds is None or answer.peak_mib is None:
        said = answer.refused or f"{answer.quality:.4g}"
        return f"{start} {said} | | | | |"
    ours = next((a for a in answers if a.library == OURS and a.question == asked), None)
    ratios = ["", ""]
    if ours is not None and ours.seconds and ours.peak_mib:
        ratios = [f"{answer.seconds / ours.seconds:.2f}", f"{answer.peak_mib / ours.peak_mib:.2f}"]
    return (
        f"{start} {answer.quality:.4g} | {answer.seconds:.2f} | {ratios[0]} | "
        f"{answer.peak_mib:.0f} | {ratios[1]} |"
    )


def _plain_table(part: str, rows: Sequence[dict[str, float | str]]) -> str:
    lines = [f"\n{part}\n", "| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    for row in rows:
        cells = [f"{each:.2g}" if isinstance(each, float) else str(each) for each in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ask(
    libraries: Iterable[str],
    question: Question,
    folder: Path,
    quality: Callable[[Path], float],
) -> list[Answer]:
    """Each library's answer; `folder` holds the task's tensors."""
    (folder / "task.json").write_text(json.dumps(asdict(question)), encoding="utf-8")
    return [_ask(library, question, folder, quality) for library in libraries]


def _ask(
    library: str, question: Question, folder: Path, quality: Callable[[Path], float]
) -> Answer:
    python = sys.executable if library in HERE else str(python_of(library))
    command = [python, str(PEERS / library / "run.py"), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )  # some libraries leave logs where they run
    answer = Answer(library, question)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return replace(answer, refused=f"failed: {lines[-1][:80]}")
    said = json.loads(done.stdout.splitlines()[-1])
    if "unsupported" in said:
        return replace(answer, refused=said["unsupported"])
    return replace(answer, quality=quality(folder), **said)


def layer_part() -> tuple[list[Answer], str]:
    """Relative output error on tokens held out."""
    found = []
    given = outlier_layer(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tensors = {"weight": given.weight.float(), "inputs": given.inputs.float()}
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "layer.safetensors")

        def quality(where: Path) -> float:
            rounded = load_file(where / "result.safetensors")["weight"]
            return given.relative_error(rounded.double())

        for method, libraries in LAYER_METHODS.items():
            for bits in (4, 3, 2):
                question = Question("layer", method, bits, 64)
                found += ask(libraries, question, folder, quality)
    return found, "error"


def speed_part() -> tuple[list[Answer], str]:
    """GPTQ of 2048 x 2048 from 4,096 tokens: relative output error on tokens held out."""
    given = outlier_layer(0, 2048, 2048, 4096)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tensors = {"weight": given.weight.float(), "inputs": given.inputs.float()}
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "layer.safetensors")

        def quality(where: Path) -> float:
            rounded = load_file(where / "result.safetensors")["weight"]
            return given.relative_error(rounded.double())

        found = []
        for act_order in (False, True):
            question = Question("layer", "gptq", 4, 128, act_order)
            found += ask((OURS, "auto_gptq"), question, folder, quality)
    return found, "error"


def llama_part() -> tuple[list[Answer], str]:
    model, tokenizer = baselines.load("llama_sotu"), tokenizers.load("state_of_the_union")
    train, validation = (
        windows(data.state_of_the_union(split)["text"], tokenizer, CONTEXT)
        for split in ("train", "validation")
    )
    drawn = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    found = [
        Answer("float", Question("llama", "none", 32, 0), evaluation.perplexity(model, validation))
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder / "model")
        PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder / "model")
        tokens = train[drawn[:CALIBRATION_WINDOWS]].contiguous()
        save_file({"tokens": tokens}, folder / "tokens.safetensors")

        def quality(where: Path) -> float:
            rounded = baselines.load("llama_sotu")
            unknown = rounded.load_state_dict(load_file(where / "result.safetensors"), strict=False)
            assert not unknown.unexpected_keys, unknown.unexpected_keys
            return evaluation.perplexity(rounded, validation)

        for method, libraries in LLAMA_METHODS.items():
            for bits in (4, 3):
                found += ask(libraries, Question("llama", method, bits, 32), folder, quality)
    return found, "perplexity"


def resnet_part() -> tuple[list[Answer], str]:
    model = baselines.load("resnet_cifar10").eval()
    images = data.batch(data.cifar10("train").select(range(IMAGES))).images
    hidden = data.batch(data.cifar10("validation"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(_exported(model, images[:2]), folder / "model.onnx")
        save_file(model.state_dict(), folder / "weights.safetensors")
        (folder / "spec.json").write_text(json.dumps(asdict(RESNET.spec)), encoding="utf-8")
        save_file({"images": images}, folder / "images.safetensors")
        save_file({"images": hidden.images}, folder / "hidden.safetensors")

        def quality(where: Path) -> float:
            answers = _answers(where, hidden.images)
            (where / "result.onnx").unlink(missing_ok=True)  # the next library may give logits
            return 100 * (answers.argmax(1) == hidden.labels).double().mean().item()

        libraries = (OURS, "onnx_runtime", "neural_compressor")
        found = ask(libraries, Question("resnet", "static", 8, 0), folder, quality)
    before = 100 * evaluation.accuracy(model, hidden)
    return [Answer("float", Question("resnet", "none", 32, 0), before), *found], "accuracy %"


def _exported(model: torch.nn.Module, x: Tensor) -> onnx.ModelProto:
    shapes = ({0: torch.export.Dim("batch")},)
    return torch.onnx.export(model, (x,), dynamo=True, dynamic_shapes=shapes).model_proto


def _answers(folder: Path, images: Tensor) -> Tensor:
    if not (folder / "result.onnx").is_file():
        return load_file(folder / "result.safetensors")["logits"]
    session = onnxruntime.InferenceSession(
        folder / "result.onnx", providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: each.numpy()})[0] for each in images.split(500)]
    return torch.cat([torch.from_numpy(each) for each in parts])


LAYER_METHODS = {
    "rtn": (OURS, "onnx_runtime", "torchao"),
    "hqq": ("onnx_runtime",),
    "gptq": (OURS, "auto_gptq"),
    "awq": (OURS,),
}
LLAMA_METHODS = {
    "rtn": (OURS, "torchao", "neural_compressor", "llm_compressor"),
    "gptq": (OURS, "auto_gptq", "gptqmodel", "neural_compressor", "llm_compressor"),
    "gptq, clip search": (OURS,),
    "hqq": ("neural_compressor",),
    "awq": (OURS, "autoawq", "neural_compressor", "llm_compressor"),
}
PARTS = {
    "anchors": lambda: (anchors(), ""),
    "layer": layer_part,
    "speed": speed_part,
    "llama": llama_part,
    "resnet": resnet_part,
}

if __name__ == "__main__":
    main()
