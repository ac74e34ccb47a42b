"""From a trained network to ONNX in FP32, for every family of the course."""

from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.export import graph
from labkit.export.signature import Signature, signature_of
from labkit.models import logits_in
from labkit.onnx_session import OUTPUT

OPSET = 20


def to_onnx(model: nn.Module, path: Path | str, takes: Signature | None = None) -> Path:
    """Write the model in FP32, for any batch size and any number of tokens up to its longest.

    Image classifiers take `images`; text classifiers `input_ids` and `attention_mask`; language
    models `input_ids`. All answer with `logits`.

    Args:
        takes: what a network of your own takes; networks of labkit.models are known.

    Raises:
        ValueError: the model is none of labkit.models, and `takes` is missing.
    """
    takes = takes or signature_of(model)
    example = takes.example(batch=2, tokens=min(7, takes.max_tokens))
    with graph.quiet():
        program = torch.onnx.export(
            _answering_with_logits(model.eval()),
            tuple(example.values()),
            input_names=takes.names,
            output_names=[OUTPUT],
            dynamic_shapes=_dynamic_shapes(takes),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    onnx.save(graph.tied(graph.stripped(program.model_proto)), str(path))
    return Path(path)


def _dynamic_shapes(takes: Signature) -> tuple[dict[int, torch.export.Dim], ...]:
    sizes = {"batch": torch.export.Dim("batch", min=1)}
    if takes.max_tokens:
        sizes["tokens"] = torch.export.Dim("tokens", min=1, max=takes.max_tokens)
    return tuple(
        {axis: sizes[size] for axis, size in enumerate(taken.shape) if isinstance(size, str)}
        for taken in takes.inputs
    )


def _answering_with_logits(model: nn.Module) -> nn.Module:
    """Hugging Face's models give a record, and would find out masks and positions in the graph."""
    # By class and not by spec: a pruned model has sizes that no spec can say.
    wrapper = _WRAPPERS.get(type(model).__name__)
    return model if wrapper is None else wrapper(model)


class _ImageClassifier(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch classes"]:
        return logits_in(self.model(images))


class _TextClassifier(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Int[Tensor, "batch tokens"], attention_mask: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch classes"]:
        hidden = (1 - attention_mask[:, None, None, :]).float() * torch.finfo(torch.float32).min
        answer = self.model(
            input_ids,
            attention_mask=hidden,
            token_type_ids=torch.zeros_like(input_ids),
            position_ids=torch.arange(input_ids.shape[1])[None],
        )
        return logits_in(answer)


class _LanguageModel(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens vocabulary"]:
        places = input_ids.shape[1]
        lowest = torch.finfo(torch.float32).min
        later = torch.full((places, places), lowest).triu(1)[None, None]
        positions = torch.arange(places)[None]
        answer = self.model(
            input_ids, attention_mask=later, position_ids=positions, use_cache=False
        )
        return logits_in(answer)


_WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "ViTForImageClassification": _ImageClassifier,
    "BertForSequenceClassification": _TextClassifier,
    "GPT2LMHeadModel": _LanguageModel,
    "LlamaForCausalLM": _LanguageModel,
}
