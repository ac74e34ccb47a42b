"""A whole Transformer, block after block: only one block's activations are ever held.

Each block is calibrated with what the rounded blocks before it really send, and inside a block each
layer with what the rounded layers before it send (the GPTQ authors' "true sequential"). Layers that
read the same tensor, such as query, key and value, are handed over together.

    for block: for group of layers with one input: statistics of the input, then rounded weights
               then once more through the block, to the next

Source    Frantar et al., "GPTQ", 2022, arXiv:2210.17323, section 4 (one block at a time).
Differs   Who shares an input is seen by running the block, so no model family needs a table.
Left out  Embeddings and the head (weight_only.py rounds those).
Read      blocks.py first; gptq.py, awq.py, weight_only.py for what a group is rounded with.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from reference import walk
from reference.blocks import Call, first_calls, inputs_of, sharing_inputs
from reference.quantization.awq import AwqConfig, awq
from reference.quantization.gptq import GptqConfig, gptq
from reference.quantization.packed_weight import WeightOnlyConfig, pack_weight, unpack_weight
from reference.statistics import InputStatistics, input_statistics

RoundGroup = Callable[[list[Tensor], InputStatistics], list[Tensor]]


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
        calls = first_calls(rounded, blocks[0], batches)
        for name in blocks:
            block = rounded.get_submodule(name)
            for group in sharing_inputs(block, name, calls[0], (nn.Linear,)):
                _round_(block, name, group, calls, round_group)
            calls = [call._replace(hidden=call.of(block)) for call in calls]
    return rounded


def _round_(
    block: nn.Module, name: str, group: list[str], calls: list[Call], round_group: RoundGroup
) -> None:
    layers = [walk.layer(block, each) for each in group]
    try:
        inputs = input_statistics(inputs_of(block, layers[0], calls))
        weights = round_group([layer.weight.detach() for layer in layers], inputs)
    except ValueError as error:
        raise ValueError(f"{name}: {', '.join(group)}: {error}") from error
    for layer, weight in zip(layers, weights, strict=True):
        layer.weight.copy_(weight)
