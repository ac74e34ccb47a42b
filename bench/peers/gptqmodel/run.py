"""gptqmodel 7.6: GPTQ of a Llama.

Its layers compute only once they were saved and loaded. On two cores its pools need to be told by
GPTQMODEL_CPU_WORKERS, or it asks for more than it has.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["GPTQMODEL_CPU_WORKERS"] = "2"

import torch
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
from task import Prepared, Task, answer, weight_of


def llama(task: Task) -> Prepared:
    config = QuantizeConfig(
        bits=task.bits, group_size=task.group_size, desc_act=task.act_order, sym=False,
        device="cpu",
    )  # fmt: skip
    model = GPTQModel.load(str(task.folder / "model"), config)
    rows = task.tensors("tokens")["tokens"]
    examples = [{"input_ids": row.tolist(), "attention_mask": [1] * len(row)} for row in rows]

    def result() -> dict[str, torch.Tensor]:
        saved = str(task.folder / "saved")
        model.save(saved)
        return weights(GPTQModel.load(saved, device="cpu", backend=BACKEND.TORCH).model)

    return Prepared(lambda: model.quantize(examples, batch_size=8, backend=BACKEND.TORCH), result)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        f"{name}.weight": weight_of(each, each.in_features)
        for name, each in model.named_modules()
        if name.endswith("_proj") and hasattr(each, "qweight")
    }


if __name__ == "__main__":
    answer("gptqmodel", {("llama", "gptq"): llama})
