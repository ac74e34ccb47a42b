"""What a model takes and what it answers: one record for export, prediction and submission."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from labkit.models import (
    BertSpec,
    GptSpec,
    LlamaSpec,
    MlpSpec,
    ResNetSpec,
    Spec,
    TextTransformerSpec,
    VitSpec,
    spec_of,
)
from labkit.onnx_session import IDS, INPUT, MASK

Size = int | Literal["batch", "tokens"]  # a word stands for a size that changes from call to call


class InputSpec(NamedTuple):
    name: str
    dtype: torch.dtype
    shape: tuple[Size, ...]


@dataclass(frozen=True)
class Signature:
    """The inputs of a model in their order, and the shape of its logits."""

    inputs: tuple[InputSpec, ...]
    output: tuple[Size, ...]
    vocabulary: int = 0  # token ids are below it; 0 where no input holds tokens
    max_tokens: int = 0  # the longest text

    @property
    def names(self) -> list[str]:
        return [taken.name for taken in self.inputs]

    def example(self, batch: int, tokens: int, seed: int = 0) -> dict[str, Tensor]:
        """Random inputs: standard normal images, or texts of which the first is padded."""
        random = torch.Generator().manual_seed(seed)
        values = {}
        for name, _, sizes in self.inputs:
            shape = concrete(sizes, batch, tokens)
            if name == INPUT:
                values[name] = torch.randn(shape, generator=random)
            elif name == IDS:
                values[name] = torch.randint(self.vocabulary, shape, generator=random)
            else:
                values[name] = torch.ones(shape, dtype=torch.int64)
                values[name][0, (tokens + 1) // 2 :] = 0
        return values


def images(shape: tuple[int, ...] = (3, 32, 32), classes: int = 10) -> Signature:
    """A classifier of images of that shape."""
    return Signature((InputSpec(INPUT, torch.float32, ("batch", *shape)),), ("batch", classes))


def texts(classes: int, vocabulary: int, max_tokens: int) -> Signature:
    """A classifier of padded token sequences."""
    shape: tuple[Size, ...] = ("batch", "tokens")
    inputs = (InputSpec(IDS, torch.int64, shape), InputSpec(MASK, torch.int64, shape))
    return Signature(inputs, ("batch", classes), vocabulary, max_tokens)


def tokens(vocabulary: int, context: int) -> Signature:
    """A language model, which gives logits of the next token at every place."""
    inputs = (InputSpec(IDS, torch.int64, ("batch", "tokens")),)
    return Signature(inputs, ("batch", "tokens", vocabulary), vocabulary, context)


def signature_of(model: nn.Module | Spec) -> Signature:
    """What a model of the course takes, read from the model or from its spec.

    Raises:
        ValueError: the model belongs to no family of the course.
    """
    spec = spec_of(model) if isinstance(model, nn.Module) else model
    if isinstance(spec, ResNetSpec):
        return images((spec.in_channels, 32, 32), spec.classes)
    if isinstance(spec, VitSpec):
        return images((spec.in_channels, spec.image_size, spec.image_size), spec.classes)
    if isinstance(spec, MlpSpec):
        return images((spec.in_features,), spec.classes)
    if isinstance(spec, TextTransformerSpec | BertSpec):
        return texts(spec.classes, spec.vocabulary, spec.max_tokens)
    if isinstance(spec, GptSpec | LlamaSpec):
        return tokens(spec.vocabulary, spec.context)
    raise ValueError(
        f"a {type(model).__name__} is no network of labkit.models; say what it takes with "
        "export.images, export.texts or export.tokens"
    )


def concrete(sizes: tuple[Size, ...], batch: int, tokens: int) -> tuple[int, ...]:
    """A shape in which the words have become numbers."""
    named = {"batch": batch, "tokens": tokens}
    return tuple(size if isinstance(size, int) else named[size] for size in sizes)
