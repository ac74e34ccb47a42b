"""llm-compressor 0.14: rounding, GPTQ and AWQ of a Llama.

Its AWQ pins memory for a GPU, which does nothing here. It gives a model that rounds while it runs:
what each layer multiplies by is read off by sending it the unit vectors.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.awq import AWQModifier
from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier
from task import Prepared, Task, answer, weight_of
from transformers import LlamaForCausalLM

torch.Tensor.pin_memory = lambda self, *args, **kwargs: self

MODIFIERS = {"rtn": QuantizationModifier, "gptq": GPTQModifier, "awq": AWQModifier}


def llama(task: Task) -> Prepared:
    model = LlamaForCausalLM.from_pretrained(task.folder / "model", use_safetensors=True).eval()
    weights = QuantizationArgs(
        num_bits=task.bits, symmetric=False, strategy="group", group_size=task.group_size
    )
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    recipe = MODIFIERS[task.method](config_groups={"group_0": scheme}, ignore=["lm_head"])
    rows = task.tensors("tokens")["tokens"]
    dataset = Dataset.from_dict(
        {"input_ids": rows.tolist(), "attention_mask": torch.ones_like(rows).tolist()}
    )

    def quantize() -> None:
        oneshot(
            model=model, processor=str(task.folder / "model"), dataset=dataset, recipe=recipe,
            num_calibration_samples=len(rows), max_seq_length=rows.shape[1],
        )  # fmt: skip

    def result() -> dict[str, torch.Tensor]:
        found = {name: value for name, value in model.state_dict().items() if "norm" in name}
        found = {name: value for name, value in found.items() if name.endswith("norm.weight")}
        for name, each in model.named_modules():
            if name.endswith("_proj"):
                found[f"{name}.weight"] = weight_of(each, each.in_features)
        return found

    return Prepared(quantize, result)


if __name__ == "__main__":
    answer("llmcompressor", {("llama", m): llama for m in MODIFIERS})
