"""neural-compressor 3.10: rounding, GPTQ, AWQ and HQQ of a Llama, static INT8 of a ResNet.

Static quantization takes what the package's own export gives. transformers must be imported first,
or the package does not find it.
"""

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3])]

import torch

from transformers import LlamaForCausalLM  # isort: skip
from neural_compressor.torch.export import export
from neural_compressor.torch.quantization import (
    AWQConfig,
    GPTQConfig,
    HQQConfig,
    RTNConfig,
    convert,
    get_default_static_config,
    prepare,
)
from task import Prepared, Task, answer, weight_of

from labkit.models import ResNetSpec, build


def llama(task: Task) -> Prepared:
    model = LlamaForCausalLM.from_pretrained(task.folder / "model", use_safetensors=True).eval()
    model.config.use_cache = False
    found = {}

    def quantize() -> None:
        watched = prepare(model, config(task), example_inputs=task.batches[0])
        if task.method in ("gptq", "awq"):
            for row in task.tensors("tokens")["tokens"]:
                watched(row.unsqueeze(0))
        found["model"] = convert(watched)

    return Prepared(quantize, lambda: weights(found["model"]))


def resnet(task: Task) -> Prepared:
    spec = ResNetSpec(**json.loads((task.folder / "spec.json").read_text("utf-8")))
    model = build(spec).eval()
    model.load_state_dict(task.tensors("weights"))
    images = task.tensors("images")["images"]
    found = {}

    def quantize() -> None:
        watched = prepare(export(model, (images[:100],)), get_default_static_config())
        for batch in images.split(100):
            watched(batch)
        found["model"] = convert(watched)

    def result() -> dict[str, torch.Tensor]:
        hidden = task.tensors("hidden")["images"]
        with torch.no_grad():
            return {"logits": torch.cat([found["model"](each) for each in hidden.split(100)])}

    return Prepared(quantize, result)


def config(task: Task) -> RTNConfig | GPTQConfig | AWQConfig | HQQConfig:
    if task.method == "hqq":
        return HQQConfig(bits=task.bits, group_size=task.group_size)
    common = {"bits": task.bits, "group_size": task.group_size, "use_sym": False}
    if task.method == "gptq":
        return GPTQConfig(**common, act_order=task.act_order, percdamp=0.01, static_groups=False)
    return {"rtn": RTNConfig, "awq": AWQConfig}[task.method](**common)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    found = {name: value for name, value in model.state_dict().items() if "norm" in name}
    for name, each in model.named_modules():
        if name.endswith("_proj"):
            width = getattr(each, "linear", each).in_features  # AWQ multiplies the input first
            found[f"{name}.weight"] = weight_of(each, width)
    return found


if __name__ == "__main__":
    methods = ("rtn", "gptq", "awq", "hqq")
    work = {("llama", method): llama for method in methods} | {("resnet", "static"): resnet}
    answer("neural-compressor-pt", work)
