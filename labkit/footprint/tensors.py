"""The tensors that a model's checkpoint holds, each once, with what it is for."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

Kind = Literal["linear", "conv", "embedding", "head", "other", "buffer"]


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a model, without its values."""

    name: str  # of its first use
    shape: tuple[int, ...]
    kind: Kind  # head: the projection onto a vocabulary, unless it is the embedding itself
    in_block: bool  # in a repeated layer, which is to say inside an nn.ModuleList
    outputs: int  # rows of the matrix W in y = W x, whichever way it lies; a vector has one row
    dtype_bits: int
    floating: bool
    uses: tuple[str, ...]  # every name that it has; more than one where layers share it

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def inputs(self) -> int:
        """Elements of a row."""
        return self.elements // self.outputs if self.outputs else 0

    @property
    def prunable(self) -> bool:
        """A weight of a linear or convolutional layer."""
        return self.kind in ("linear", "conv", "head")


@dataclass(frozen=True)
class _Use:
    name: str
    tensor: Tensor
    kind: Kind
    in_block: bool
    outputs: int


def tensors(model: nn.Module) -> tuple[StoredTensor, ...]:
    """Parameters and persistent buffers in the order of the state dict; shared ones once.

    Shared means the same parameter object under several names. One that an embedding shares with
    an output layer is an embedding. `model.to("meta")` makes two objects of it; a model that is
    built on `meta` keeps it one.
    """
    shared: dict[int, list[_Use]] = {}
    for use in _uses(model):
        shared.setdefault(id(use.tensor), []).append(use)
    return tuple(_stored(uses) for uses in shared.values())


def _stored(uses: list[_Use]) -> StoredTensor:
    chosen = next((use for use in uses if use.kind == "embedding"), uses[0])
    return StoredTensor(
        uses[0].name,
        tuple(chosen.tensor.shape),
        chosen.kind,
        chosen.in_block,
        chosen.outputs,
        8 * chosen.tensor.element_size(),
        chosen.tensor.is_floating_point(),
        tuple(use.name for use in uses),
    )


def _uses(model: nn.Module) -> Iterator[_Use]:
    head = _output_layer(model)
    repeated = [
        f"{name}." if name else ""
        for name, part in model.named_modules()
        if isinstance(part, nn.ModuleList)
    ]
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):  # a module's extra state may be anything
            continue
        owner = model.get_submodule(name.rpartition(".")[0])
        kind = _kind(owner, tensor, owner is head)
        in_block = any(name.startswith(prefix) for prefix in repeated)
        yield _Use(name, tensor, kind, in_block, _outputs(owner, tensor))


def _kind(owner: nn.Module, tensor: Tensor, is_head: bool) -> Kind:
    if not isinstance(tensor, nn.Parameter):
        return "buffer"
    if tensor.dim() < 2:
        return "other"
    if isinstance(owner, nn.Embedding | nn.EmbeddingBag):
        return "embedding"
    if isinstance(owner, nn.modules.conv._ConvNd):
        return "conv"
    if isinstance(owner, nn.Linear) or _is_transposed_linear(owner):
        return "head" if is_head else "linear"
    in_attention = isinstance(owner, nn.MultiheadAttention) and tensor.dim() == 2
    return "linear" if in_attention else "other"


def _outputs(owner: nn.Module, tensor: Tensor) -> int:
    if tensor.dim() < 2:
        return 1
    if _is_transposed_linear(owner):
        return tensor.shape[1]
    if isinstance(owner, nn.modules.conv._ConvTransposeNd):
        return owner.out_channels
    return tensor.shape[0]


def _is_transposed_linear(owner: nn.Module) -> bool:
    """GPT-2's Conv1D in transformers, known by its name: importing it takes a second."""
    return type(owner).__name__ == "Conv1D" and not isinstance(owner, nn.modules.conv._ConvNd)


def _output_layer(model: nn.Module) -> nn.Module | None:
    """Hugging Face's models say which layer answers with one logit per token."""
    ask: Any = getattr(model, "get_output_embeddings", None)
    return None if ask is None else ask()
