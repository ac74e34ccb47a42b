"""This project's own quantizers, asked as the peers are."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3])]

import onnx
import torch
from task import Prepared, Task, answer

from reference.quantization.awq import AwqConfig, awq
from reference.quantization.blockwise import (
    RoundGroup,
    quantize_blocks,
    round_awq,
    round_gptq,
)
from reference.quantization.gptq import GptqConfig, gptq
from reference.quantization.onnx_qdq import collect_ranges, quantize_onnx
from reference.quantization.packed_weight import WeightOnlyConfig, pack_weight, unpack_weight
from reference.quantization.weight_only import round_weights
from reference.statistics import input_statistics


def stored(task: Task) -> WeightOnlyConfig:
    return WeightOnlyConfig(task.bits, task.group_size)


def layer(task: Task) -> Prepared:
    tensors, found = task.tensors("layer"), {}
    weight, inputs = tensors["weight"], tensors["inputs"]

    def quantize() -> None:
        if task.method == "rtn":
            found["weight"] = unpack_weight(pack_weight(weight, stored(task)))
        elif task.method == "gptq":
            config = GptqConfig(stored(task), act_order=task.act_order)
            found["weight"] = gptq(weight, input_statistics([inputs]), config).weight
        else:
            config = AwqConfig(stored(task))
            found["weight"] = awq([weight], input_statistics([inputs]), config).weights[0]

    return Prepared(quantize, lambda: found)


def llama(task: Task) -> Prepared:
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(task.folder / "model", use_safetensors=True).eval()
    blocks = [f"model.layers.{i}" for i in range(model.config.num_hidden_layers)]
    found = {}

    def quantize() -> None:
        if task.method == "rtn":
            found["model"] = round_weights(model, stored(task), keep=["lm_head"])
        else:
            found["model"] = quantize_blocks(model, blocks, task.batches, method(task))

    def result() -> dict[str, torch.Tensor]:
        state = found["model"].state_dict()
        return {name: value for name, value in state.items() if "proj" in name}

    return Prepared(quantize, result)


def method(task: Task) -> RoundGroup:
    if task.method == "gptq":
        return round_gptq(GptqConfig(stored(task), act_order=task.act_order))
    if task.method == "gptq, clip search":
        return round_gptq(GptqConfig(stored(task), act_order=task.act_order, clip_steps=20))
    return round_awq(AwqConfig(stored(task)))


def resnet(task: Task) -> Prepared:
    model = onnx.load(task.folder / "model.onnx")
    images = task.tensors("images")["images"]
    found = {}

    def quantize() -> None:
        found["model"] = quantize_onnx(model, collect_ranges(model, images.split(100)))

    def result() -> dict[str, torch.Tensor]:
        onnx.save(found["model"], task.folder / "result.onnx")
        return {"none": torch.zeros(1)}

    return Prepared(quantize, result)


METHODS = ("rtn", "gptq", "gptq, clip search", "awq")

if __name__ == "__main__":
    answer(
        "compression-course",
        {("layer", name): layer for name in ("rtn", "gptq", "awq")}
        | dict.fromkeys((("llama", name) for name in METHODS), llama)
        | {("resnet", "static"): resnet},
    )
