"""auto-gptq 0.7.1: its GPTQ class on a layer, and its whole-model quantizer on a Llama.

The package is built for CUDA. On a CPU `torch.cuda.synchronize` must do nothing, and the constant
that names the device of its working tensors must say cpu; no line of its algorithm is changed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

torch.cuda.synchronize = lambda *args, **kwargs: None

from auto_gptq import BaseQuantizeConfig
from auto_gptq.modeling import _base, _const, _utils
from auto_gptq.modeling.auto import GPTQ_CAUSAL_LM_MODEL_MAP
from auto_gptq.quantization.gptq import GPTQ
from task import Prepared, Task, answer, linear, weight_of
from transformers import LlamaForCausalLM

for module in (_base, _const, _utils):
    module.CUDA_0 = torch.device("cpu")


def layer(task: Task) -> Prepared:
    tensors = task.tensors("layer")
    target, inputs = linear(tensors), tensors["inputs"]

    def quantize() -> None:
        solver = GPTQ(target)
        solver.quantizer.configure(task.bits, perchannel=True, sym=False, mse=False)
        solver.add_batch(inputs, None)
        solver.fasterquant(
            percdamp=0.01, group_size=task.group_size, actorder=task.act_order, static_groups=False
        )

    return Prepared(quantize, lambda: {"weight": target.weight})


def llama(task: Task) -> Prepared:
    model = LlamaForCausalLM.from_pretrained(task.folder / "model", use_safetensors=True).eval()
    config = BaseQuantizeConfig(
        bits=task.bits, group_size=task.group_size, desc_act=task.act_order, sym=False
    )
    quantizer = GPTQ_CAUSAL_LM_MODEL_MAP["llama"](model, False, config)
    examples = [
        {"input_ids": row.unsqueeze(0), "attention_mask": torch.ones_like(row).unsqueeze(0)}
        for row in task.tensors("tokens")["tokens"]
    ]

    def quantize() -> None:
        quantizer.quantize(examples, batch_size=8, cache_examples_on_gpu=False)

    def result() -> dict[str, torch.Tensor]:
        return {
            f"{name}.weight": weight_of(each, each.infeatures)
            for name, each in quantizer.model.named_modules()
            if hasattr(each, "qweight")
        }

    return Prepared(quantize, result)


if __name__ == "__main__":
    answer("auto-gptq", {("layer", "gptq"): layer, ("llama", "gptq"): llama})
