"""The imperative shell: find layers, watch what enters and leaves them, put others in their place.

Everything that runs a model or changes one is here, so that the techniques need only tensors.
Only `replace_` changes what it is given.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

LAYERS = (nn.Conv2d, nn.Linear)
Layer = nn.Conv2d | nn.Linear
Batch = Tensor | Mapping[str, Tensor]


def named_layers(model: nn.Module) -> dict[str, Layer]:
    """Every convolution and linear layer, in the order in which the model registers them."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LAYERS)}


def layer(model: nn.Module, name: str) -> Layer:
    """The convolution or linear layer of that name."""
    module = model.get_submodule(name)
    if not isinstance(module, LAYERS):
        raise ValueError(f"{name!r} is {type(module).__name__}; expected Conv2d or Linear")
    return module


def replace_(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def layer_inputs(
    model: nn.Module, names: Iterable[str], batches: Sequence[Batch]
) -> dict[str, list[Tensor]]:
    """What enters each named module: one tensor for each batch and call. The model runs in eval."""
    seen: dict[str, list[Tensor]] = {name: [] for name in names}
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda module, args, into=inputs: into.append(_copied(args[0]))
        )
        for name, inputs in seen.items()
    ]
    _run(model, batches, handles)
    for name, inputs in seen.items():
        if not inputs:
            raise ValueError(f"layer {name!r} was not reached by {len(batches)} batches")
    return seen


def outputs(
    model: nn.Module, names: Iterable[str], batches: Sequence[Batch]
) -> dict[str, list[Tensor]]:
    """What leaves each named module: one tensor for each batch and call. The model runs in eval."""
    seen: dict[str, list[Tensor]] = {name: [] for name in names}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda module, args, output, into=found: into.append(_copied(output))
        )
        for name, found in seen.items()
    ]
    _run(model, batches, handles)
    return seen


def output_means(
    model: nn.Module, names: Iterable[str], batches: Sequence[Batch]
) -> dict[str, Tensor]:
    """The mean of each channel that leaves each named layer, over batches and positions."""
    return {
        name: torch.cat([by_channel(model.get_submodule(name), each) for each in found]).mean(0)
        for name, found in outputs(model, names, batches).items()
    }


def by_channel(layer: nn.Module, output: Tensor) -> Tensor:
    """(values, channels): a convolution has its channels on axis 1, a linear layer on the last."""
    axis = -1 if isinstance(layer, nn.Linear) else 1
    return output.detach().movedim(axis, -1).flatten(0, -2)


def _copied(value: Tensor) -> Tensor:
    """An operation in place, after the layer, would change what was seen."""
    return value.detach().clone()


def answer(model: nn.Module, batch: Batch) -> object:
    """What the model says to a batch: a tensor alone, or arguments by name."""
    return model(**batch) if isinstance(batch, Mapping) else model(batch)


def _run(model: nn.Module, batches: Sequence[Batch], handles: list[RemovableHandle]) -> None:
    try:
        with evaluating(model), torch.no_grad():
            for batch in batches:
                answer(model, batch)
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, and every module back in its own mode after."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
