"""A Transformer's blocks one by one: what enters the first, what each layer inside is given.

Only one block's activations are ever held. Who shares an input is seen by running the block, so no
model family needs a table.

Left out  Devices other than the model's; blocks that do not take the hidden state first and give it
          back first.
Read      Used by quantization/blockwise.py and pruning/gradient/layerwise.py.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers.cache_utils import Cache

from reference import walk


class Call(NamedTuple):
    """What enters a block for one batch."""

    hidden: Tensor
    rest: tuple[Any, ...]
    named: dict[str, Any]

    def of(self, block: nn.Module) -> Tensor:
        output = block(self.hidden, *self.rest, **self.named)
        return output[0] if isinstance(output, tuple) else output


class _Reached(Exception):
    """The first block was reached; the rest of the model need not run."""


def first_calls(model: nn.Module, first: str, batches: Sequence[walk.Batch]) -> list[Call]:
    """What enters the first block. A cache of keys and values would grow with every run of it.

    Raises:
        ValueError: a batch does not reach it.
    """
    calls: list[Call] = []

    def catch(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        no_cache = {n: v for n, v in named.items() if not n.startswith("past_key_value")}
        if "use_cache" in no_cache:
            no_cache["use_cache"] = False
        rest = tuple(None if isinstance(each, Cache) else each for each in args[1:])
        calls.append(Call(args[0], rest, no_cache))
        raise _Reached

    hook = model.get_submodule(first).register_forward_pre_hook(catch, with_kwargs=True)
    try:
        for batch in batches:
            try:
                walk.answer(model, batch)
            except _Reached:
                continue
            raise ValueError(f"block {first!r} was not reached by a batch")
    finally:
        hook.remove()
    return calls


def sharing_inputs(
    block: nn.Module, name: str, call: Call, kinds: tuple[type[nn.Module], ...]
) -> list[list[str]]:
    """The layers of these kinds in the order in which they run, those with one input together.

    Raises:
        ValueError: there is none, or one that the call does not reach.
    """
    layers = {n: m for n, m in block.named_modules() if isinstance(m, kinds)}
    if not layers:
        raise ValueError(f"block {name!r} has no linear layer")
    order: list[tuple[str, Tensor]] = []

    def note(layer: str, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        order.append((layer, args[0]))  # the tensor too, or its memory would be used again

    hooks = [m.register_forward_pre_hook(partial(note, n)) for n, m in layers.items()]
    try:
        call.of(block)
    finally:
        for hook in hooks:
            hook.remove()
    if missed := layers.keys() - {layer for layer, _ in order}:
        raise ValueError(f"block {name!r}: no batch reaches {', '.join(sorted(missed))}")
    groups: dict[int, list[str]] = {}
    for layer, tensor in order:
        groups.setdefault(id(tensor), []).append(layer)
    return list(groups.values())


def inputs_of(block: nn.Module, layer: nn.Module, calls: Sequence[Call]) -> Iterator[Tensor]:
    """What the layer is given in each call of the block, one call's at a time."""
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        for call in calls:
            call.of(block)
            yield from seen
            seen.clear()
    finally:
        handle.remove()
