"""autoawq 0.2.9: its whole-model quantizer on a Llama.

Its calibration text is a hub's; the function that fetches it is replaced by one that gives the
task's tokens. Its kernel's name is `gemm`, in lower case. Its clip search takes outputs in batches
of 64 and refuses the 352 of this model's gate, so it runs without. Norms take the scales, so they
are returned with the weights.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from awq.models.llama import LlamaAWQForCausalLM
from awq.quantize import quantizer as awq_quantizer
from task import Prepared, Task, answer, weight_of
from transformers import LlamaForCausalLM


def llama(task: Task) -> Prepared:
    model = LlamaForCausalLM.from_pretrained(task.folder / "model", use_safetensors=True).eval()
    model.config.use_cache = False
    rows = task.tensors("tokens")["tokens"]
    awq_quantizer.get_calib_dataset = lambda **_: list(rows.unsqueeze(1))
    wrapped = LlamaAWQForCausalLM(model, "llama", False, model.config, None, None)
    quantizer = awq_quantizer.AwqQuantizer(
        awq_model=wrapped, model=model, tokenizer=None, w_bit=task.bits,
        group_size=task.group_size, zero_point=True, version="gemm", calib_data="tokens",
        split="", text_column="", duo_scaling=True, max_calib_samples=len(rows),
        max_calib_seq_len=rows.shape[1], apply_clip=False,
    )  # fmt: skip

    def result() -> dict[str, torch.Tensor]:
        found = {name: value for name, value in model.state_dict().items() if "norm" in name}
        for name, each in model.named_modules():
            if hasattr(each, "qweight"):
                found[f"{name}.weight"] = weight_of(each, each.in_features, torch.float16)
        return found

    return Prepared(quantizer.quantize, result)


if __name__ == "__main__":
    answer("autoawq", {("llama", "awq"): llama})
