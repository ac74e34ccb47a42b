"""Pretrained architectures as plain fields, and the models that they stand for.

A Hugging Face model is its class and the fields of its configuration that differ from that
class's defaults; nothing is looked up on the hub. Attention is `eager`, as in `labkit.models`:
`model.set_attn_implementation("sdpa")` is faster on long texts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from labkit.models.efficientnet import EfficientNetLite, EfficientNetLiteSpec
from labkit.registry import SourceUnavailable

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class HuggingFace:
    model: str  # a class of transformers
    fields: Mapping[str, Any]  # of its configuration

    def with_head(self, model: str, **fields: Any) -> "HuggingFace":
        """The same body under another head."""
        return HuggingFace(model, {**self.fields, **fields})


Architecture = HuggingFace | EfficientNetLiteSpec


def bert(width: int, depth: int, heads: int, ffn: int) -> HuggingFace:
    """BERT's encoder with its pooler, over the vocabulary of the uncased models."""
    return HuggingFace(
        "BertModel",
        {
            "vocab_size": 30522,
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "intermediate_size": ffn,
            "max_position_embeddings": 512,
        },
    )


def reads_text(architecture: Architecture) -> bool:
    return isinstance(architecture, HuggingFace) and "vocab_size" in architecture.fields


def build(architecture: Architecture, device: str) -> nn.Module:
    """A freshly initialised model; on the device `meta` it has shapes and no values."""
    with torch.device(device):
        if isinstance(architecture, EfficientNetLiteSpec):
            return EfficientNetLite(architecture)
        return _class(architecture)(config(architecture))


def read(
    architecture: Architecture, folder: Path, device: str, fresh: frozenset[str] = frozenset()
) -> nn.Module:
    """A model with the weights of a folder in Hugging Face's layout, in the weights' own dtype.

    Args:
        fresh: parameters that the folder does not have; they keep their random values.

    Raises:
        SourceUnavailable: a weight is not in the folder, or has another shape.
    """
    if isinstance(architecture, EfficientNetLiteSpec):
        return _read_efficientnet(architecture, folder, device)
    try:
        model, report = _class(architecture).from_pretrained(
            folder,
            config=config(architecture),
            device_map=device,
            dtype="auto",
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, RuntimeError) as error:  # a missing file; a tensor of another shape
        raise SourceUnavailable(f"{folder} does not hold {architecture.model}: {error}") from error
    missing = set(report["missing_keys"])
    if missing != fresh:
        raise SourceUnavailable(
            f"{folder} does not hold {architecture.model}: missing {sorted(missing - fresh)[:5]}, "
            f"not expected {sorted(fresh - missing)[:5]}"
        )
    return model


def config(architecture: HuggingFace) -> "PreTrainedConfig":
    return _class(architecture).config_class(
        **architecture.fields,
        architectures=[architecture.model],
        attn_implementation="eager",
    )


def _class(architecture: HuggingFace) -> Any:
    import transformers

    return getattr(transformers, architecture.model)


def _read_efficientnet(spec: EfficientNetLiteSpec, folder: Path, device: str) -> nn.Module:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = build(spec, "meta")
    try:
        model.load_state_dict(load_file(folder / WEIGHTS, device=device), assign=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise SourceUnavailable(f"{folder} does not hold EfficientNetLite: {error}") from error
    return model
