"""torchao 0.18: weight-only rounding of a layer and of a Llama."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from task import Prepared, Task, answer, linear
from torchao.quantization import IntxWeightOnlyConfig, quantize_
from torchao.quantization.granularity import PerGroup
from torchao.quantization.quant_primitives import MappingType
from transformers import LlamaForCausalLM

DTYPES = {2: torch.int2, 3: torch.int3, 4: torch.int4, 8: torch.int8}


def config(task: Task) -> IntxWeightOnlyConfig:
    return IntxWeightOnlyConfig(
        weight_dtype=DTYPES[task.bits],
        granularity=PerGroup(task.group_size),
        mapping_type=MappingType.ASYMMETRIC,
    )


def layer(task: Task) -> Prepared:
    model = torch.nn.Sequential(linear(task.tensors("layer")))
    quantize = lambda: quantize_(model, config(task))  # noqa: E731
    return Prepared(quantize, lambda: {"weight": model[0].weight.dequantize()})


def llama(task: Task) -> Prepared:
    model = LlamaForCausalLM.from_pretrained(task.folder / "model", use_safetensors=True).eval()

    def result() -> dict[str, torch.Tensor]:
        return {
            f"{name}.weight": each.weight.dequantize()
            for name, each in model.model.layers.named_modules(prefix="model.layers")
            if isinstance(each, torch.nn.Linear)
        }

    return Prepared(lambda: quantize_(model.model.layers, config(task)), result)


if __name__ == "__main__":
    answer("torchao", {("layer", "rtn"): layer, ("llama", "rtn"): llama})
