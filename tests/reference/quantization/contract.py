"""What every weight quantizer of the reference is, to the tests that hold for all of them.

A new technique is one more row of TECHNIQUES.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from reference.quantization.adaround import AdaRoundConfig, adaround
from reference.quantization.affine import (
    asymmetric_grid,
    channel_range,
    fake_quantize,
    full_symmetric_grid,
    group_range,
    power_of_two_grid,
    symmetric_grid,
    tensor_range,
)
from reference.quantization.awq import AwqConfig, awq
from reference.quantization.calibration import narrowed
from reference.quantization.codebook import cluster, look_up
from reference.quantization.gptq import GptqConfig, gptq
from reference.quantization.packed_weight import WeightOnlyConfig, pack_weight, unpack_weight
from reference.statistics import input_statistics

GROUP_SIZE = 16


@dataclass(frozen=True)
class Technique:
    """`quantize` takes a weight (d_out, d_in), inputs (tokens, d_in) and the number of bits.

    It returns the weight as the technique would have it multiplied, dequantized.
    """

    name: str
    quantize: Callable[[Tensor, Tensor, int], Tensor]
    uses_inputs: bool = False  # and so has to refuse inputs that are not finite, or none
    group_size: int | None = GROUP_SIZE  # values of a row that share 2**bits levels; None: no two
    bits: tuple[int, ...] = (4, 8)  # where it must succeed
    refused_bits: tuple[int, ...] = (-1, 0, 9)


def _rounded(span, make_grid, weight: Tensor, inputs: Tensor, bits: int) -> Tensor:
    return fake_quantize(weight, make_grid(span(weight), bits))


def _clip_searched(weight: Tensor, inputs: Tensor, bits: int) -> Tensor:
    make_grid = partial(symmetric_grid, bits=bits)
    return fake_quantize(weight, make_grid(narrowed(weight, channel_range(weight), make_grid, 20)))


def _adarounded(weight: Tensor, inputs: Tensor, bits: int) -> Tensor:
    grid = symmetric_grid(channel_range(weight), bits)
    return adaround(weight, inputs, grid, AdaRoundConfig(steps=20)).weight


def _clustered(weight: Tensor, inputs: Tensor, bits: int) -> Tensor:
    return look_up(cluster(weight, bits)).to(weight.dtype)


def _packed(weight: Tensor, inputs: Tensor, bits: int) -> Tensor:
    stored = pack_weight(weight, WeightOnlyConfig(bits, GROUP_SIZE))
    return unpack_weight(stored).to(weight.dtype)


def _gptq(act_order: bool, weight: Tensor, inputs: Tensor, bits: int) -> Tensor:
    config = GptqConfig(WeightOnlyConfig(bits, GROUP_SIZE), act_order, static_groups=act_order)
    return gptq(weight, input_statistics([inputs]), config).weight


def _awq(weight: Tensor, inputs: Tensor, bits: int) -> Tensor:
    config = AwqConfig(WeightOnlyConfig(bits, GROUP_SIZE))
    return awq([weight], input_statistics([inputs]), config).weights[0]


SPANS = {
    "tensor": tensor_range,
    "channel": channel_range,
    "group": partial(group_range, group_size=GROUP_SIZE),
}
GRIDS = (asymmetric_grid, symmetric_grid, full_symmetric_grid, power_of_two_grid)

TECHNIQUES = [
    *(
        Technique(f"nearest, {grid.__name__} per {name}", partial(_rounded, span, grid))
        for name, span in SPANS.items()
        for grid in GRIDS
    ),
    Technique("nearest, clip searched", _clip_searched),
    Technique("nearest, packed and unpacked", _packed),
    Technique("adaround", _adarounded, uses_inputs=True),
    Technique("codebook", _clustered),
    Technique("gptq", partial(_gptq, False), uses_inputs=True),
    Technique("gptq, act-order, static groups", partial(_gptq, True), uses_inputs=True),
    Technique("awq", _awq, uses_inputs=True, group_size=None),  # Q(W s) / s: s differs in a group
]
