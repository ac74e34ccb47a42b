"""Pretrained models of two tiers through one loader.

The cpu tier comes from packages of a public registry, and is kept in labkit's cache as
safetensors; the gpu tier comes from the Hugging Face hub, or from folders fetched by hand.
`LABKIT_TIER` decides which of them `role` names, so a lab changes tier without a changed cell.
docs/models.md lists them all.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.pretrained import architectures, cpu_tier, gpu_tier
from labkit.pretrained import pictures as _pictures
from labkit.pretrained.architectures import HuggingFace
from labkit.pretrained.entries import Entry as Entry
from labkit.pretrained.entries import Hub as Hub
from labkit.pretrained.folders import folder_of
from labkit.pretrained.roles import ROLES as ROLES
from labkit.pretrained.roles import SHIPPED
from labkit.pretrained.roles import role as role
from labkit.pretrained.roles import tier as tier
from labkit.registry import SourceUnavailable

if TYPE_CHECKING:
    from PIL.Image import Image
    from tokenizers import Tokenizer
    from transformers import BertForSequenceClassification

CLASSIFIER_HEAD = frozenset({"classifier.weight", "classifier.bias"})
ENTRIES = {entry.name: entry for entry in (*cpu_tier.ENTRIES, *gpu_tier.ENTRIES)}


def names() -> list[str]:
    return list(ENTRIES)


def entry(name: str) -> Entry:
    """What is known of a pretrained model.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in ENTRIES:
        raise ValueError(f"there is no pretrained model {name!r}; there are {', '.join(names())}")
    return ENTRIES[name]


def load(name: str, device: str = "cpu") -> nn.Module:
    """A pretrained model, or a shipped baseline that has a role, in evaluation mode.

    On the device `meta` it has its shapes without values, and nothing is fetched. Weights keep
    the dtype that they are stored in.

    Raises:
        ValueError: there is no model of that name.
        SourceUnavailable: its weights could not be had; the message says what to do.
    """
    if name in SHIPPED:
        from labkit import baselines

        return baselines.load(name).to(device)
    return _load(entry(name), device)


def folder(name: str) -> Path:
    """The model's folder in Hugging Face's layout, for `from_pretrained`; fetched on first use.

    Raises:
        ValueError, SourceUnavailable: as for `load`.
    """
    return folder_of(entry(name))


def tokenizer(name: str) -> "Tokenizer":
    """The tokenizer of a model, neither cutting nor padding, for `labkit.text`.

    Raises:
        ValueError: there is no model of that name, or it does not read text.
        SourceUnavailable: as for `load`.
    """
    if name in SHIPPED:
        from labkit import tokenizers

        if (own := SHIPPED[name]) is not None:
            return tokenizers.load(own)
    elif architectures.reads_text(entry(name).architecture):
        return _tokenizer_in(folder(name))
    raise ValueError(f"{name} has no tokenizer: it does not read text")


def prepare(name: str, pictures: "Sequence[Image]") -> Float[Tensor, "count 3 crop crop"]:
    """Pictures of any size as one batch for a pretrained vision model.

    Raises:
        ValueError: there is no model of that name, or it does not see pictures.
    """
    preparation = entry(name).pictures
    if preparation is None:
        raise ValueError(f"{name} does not see pictures")
    return _pictures.prepare(pictures, preparation)


def classifier(
    name: str = "minilm", classes: int = 2, seed: int = 0, device: str = "cpu"
) -> "BertForSequenceClassification":
    """A pretrained encoder under a fresh head, in evaluation mode; the same for the same seed.

    Raises:
        ValueError: there is no model of that name, or it is not a BERT encoder.
        SourceUnavailable: as for `load`.
    """
    body = entry(name).architecture
    if not isinstance(body, HuggingFace) or body.model != "BertModel":
        raise ValueError(f"{name} is not a BERT encoder; 'minilm' and 'bert_large' are")
    whole = body.with_head("BertForSequenceClassification", num_labels=classes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _load(replace(entry(name), architecture=whole), device, CLASSIFIER_HEAD)


def _load(chosen: Entry, device: str, fresh: frozenset[str] = frozenset()) -> Any:
    if device == "meta":
        return architectures.build(chosen.architecture, "meta").eval()
    return architectures.read(chosen.architecture, folder_of(chosen), device, fresh).eval()


def _tokenizer_in(folder: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        raise SourceUnavailable(f"{file} is not there; a tokenizer's folder has one")
    found = Tokenizer.from_file(str(file))
    found.no_truncation()
    found.no_padding()
    return found
