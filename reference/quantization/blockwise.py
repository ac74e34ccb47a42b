"""A whole Transformer, block after block: only one block's activations are ever held.

Each block is calibrated with what the rounded blocks before it really send, and inside a block each
layer with what the rounded layers before it send (the GPTQ authors' "true sequential"). Layers that
read the same tensor, such as query, key and value, are handed over together.

    for block: for group of layers with one input: statistics of the input, then rounded weights
               then once more through the block, to the next

Source    Frantar et al., "GPTQ", 2022, arXiv:2210.17323, section 4 (one block at a time).
Differs   Who shares an input is seen by running the block, so no model family needs a table.
Left out  Embeddings and the head (weight_only.py rounds those); devices other than the model's;
          blocks that do not take the hidden state first and give it back first.
Read      gptq.py, awq.py, weight_only.py for what a group is rounded with.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reference import walk
from reference.quantization.awq import AwqConfig, awq
from reference.quantization.gptq import GptqConfig, gptq
from reference.quantization.packed_weight import WeightOnlyConfig, pack_weight, unpack_weight
from reference.statistics import InputStatistics, input_statistics

RoundGroup = Callable[[list[Tensor], InputStatistics], list[Tensor]]


class _Call(NamedTuple):
    """What enters a block for one batch."""

    hidden: Tensor
    rest: tuple[Any, ...]
    named: dict[str, Any]

    def of(self, block: nn.Module) -> Tensor:
        output = block(self.hidden, *self.rest, **self.named)
        return output[0] if isinstance(output, tuple) else output


class _Reached(Exception):
    """The first block was reached; the rest of the model need not run."""


def round_nearest(config: WeightOnlyConfig) -> RoundGroup:
    return lambda weights, _: [
        unpack_weight(pack_weight(weight, config)).to(weight.dtype) for weight in weights
    ]


def round_gptq(config: GptqConfig = GptqConfig()) -> RoundGroup:
    return lambda weights, inputs: [gptq(weight, inputs, config).weight for weight in weights]


def round_awq(config: AwqConfig = AwqConfig()) -> RoundGroup:
    return lambda weights, inputs: awq(weights, inputs, config).weights


@torch.no_grad()
def quantize_blocks(
    model: nn.Module,
    blocks: Sequence[str],
    batches: Sequence[Tensor],
    round_group: RoundGroup,
) -> nn.Module:
    """A copy whose linear layers inside the blocks are rounded. The model is not modified.

    Args:
        blocks: modules in the order in which they run, each fed by the one before.
        batches: what the model is called with.

    Raises:
        ValueError: no batch, no block, a block without a linear layer, a layer that no batch
            reaches, or values that are not finite; the layer is named.
    """
    if not blocks or not batches:
        raise ValueError(f"{len(blocks)} blocks and {len(batches)} batches: need one of each")
    rounded = copy.deepcopy(model)
    with walk.evaluating(rounded):
        calls = _calls(rounded, blocks[0], batches)
        for name in blocks:
            block = rounded.get_submodule(name)
            for group in _groups(block, name, calls[0]):
                _round_(block, name, group, calls, round_group)
            calls = [call._replace(hidden=call.of(block)) for call in calls]
    return rounded


def _round_(
    block: nn.Module, name: str, group: list[str], calls: list[_Call], round_group: RoundGroup
) -> None:
    layers = [walk.layer(block, each) for each in group]
    try:
        inputs = input_statistics(_inputs(block, layers[0], calls))
        weights = round_group([layer.weight.detach() for layer in layers], inputs)
    except ValueError as error:
        raise ValueError(f"{name}: {', '.join(group)}: {error}") from error
    for layer, weight in zip(layers, weights, strict=True):
        layer.weight.copy_(weight)


def _inputs(block: nn.Module, layer: nn.Module, calls: list[_Call]) -> Iterable[Tensor]:
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        for call in calls:
            call.of(block)
            yield from seen
            seen.clear()
    finally:
        handle.remove()


def _groups(block: nn.Module, name: str, call: _Call) -> list[list[str]]:
    """The linear layers in the order in which they run, those with one input together."""
    linears = {n: m for n, m in block.named_modules() if isinstance(m, nn.Linear)}
    if not linears:
        raise ValueError(f"block {name!r} has no linear layer to round")
    order: list[tuple[str, Tensor]] = []

    def note(layer: str, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        order.append((layer, args[0]))  # the tensor too, or its memory would be used again

    hooks = [m.register_forward_pre_hook(partial(note, n)) for n, m in linears.items()]
    try:
        call.of(block)
    finally:
        for hook in hooks:
            hook.remove()
    if missed := linears.keys() - {layer for layer, _ in order}:
        raise ValueError(f"block {name!r}: no batch reaches {', '.join(sorted(missed))}")
    groups: dict[int, list[str]] = {}
    for layer, tensor in order:
        groups.setdefault(id(tensor), []).append(layer)
    return list(groups.values())


def _calls(model: nn.Module, first: str, batches: Sequence[Tensor]) -> list[_Call]:
    """What enters the first block. A cache of keys and values would grow with every run of it."""
    calls: list[_Call] = []

    def catch(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        no_cache = {n: v for n, v in named.items() if not n.startswith("past_key_value")}
        if "use_cache" in no_cache:
            no_cache["use_cache"] = False
        calls.append(_Call(args[0], args[1:], no_cache))
        raise _Reached

    hook = model.get_submodule(first).register_forward_pre_hook(catch, with_kwargs=True)
    try:
        for batch in batches:
            try:
                model(batch)
            except _Reached:
                continue
            raise ValueError(f"block {first!r} was not reached by a batch")
    finally:
        hook.remove()
    return calls
