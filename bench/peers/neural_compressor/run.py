"""neural-compressor 3.10: rounding, GPTQ and AWQ of a Llama.

transformers must be imported first, or the package does not find it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from transformers import LlamaForCausalLM  # isort: skip
from neural_compressor.torch.quantization import (
    AWQConfig,
    GPTQConfig,
    RTNConfig,
    convert,
    prepare,
)
from task import Prepared, Task, answer, weight_of


def llama(task: Task) -> Prepared:
    model = LlamaForCausalLM.from_pretrained(task.folder / "model").eval()
    model.config.use_cache = False
    found = {}

    def quantize() -> None:
        watched = prepare(model, config(task), example_inputs=task.batches[0])
        if task.method != "rtn":
            for row in task.tensors("tokens")["tokens"]:
                watched(row.unsqueeze(0))
        found["model"] = convert(watched)

    return Prepared(quantize, lambda: weights(found["model"]))


def config(task: Task) -> RTNConfig | GPTQConfig | AWQConfig:
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
    answer("neural-compressor-pt", {("llama", m): llama for m in ("rtn", "gptq", "awq")})
