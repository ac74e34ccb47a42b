"""What a layer costs in each width: bytes, bit operations, or seconds from a table.

    bytes       codes, steps and zero points, as stored                   packed_weight.py
    BOPS        MACs * bits of the weight * bits of the input             a time without hardware
    seconds     sum of measured layers                                    a look-up table

A network of layers in sequence takes the sum of its layers' times where nothing overlaps or fuses;
a table must be measured on the machine that it is for.

Source    Yao et al., "HAWQ-V3", ICML 2021, arXiv:2011.10680, section 3.3 (size, BOPS, latency);
          Cai, Zhu and Han, "ProxylessNAS", ICLR 2019, arXiv:1812.00332, section 3.3 (the table).
Left out  Energy; interpolation between widths that nobody measured.
Read      options.py first.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference import walk
from reference.quantization.mixed.options import Options

Costs = Float[Tensor, "layers widths"]
Seconds = Mapping[tuple[str, int], float]  # measured, by layer and bits


def stored_bytes(options: Options) -> Costs:
    """Bytes of each layer's weight, overhead included."""
    rows = [[each.packed.nbytes for each in widths] for widths in options.values()]
    return torch.tensor(rows, dtype=torch.float64)


def bit_operations(
    model: nn.Module, options: Options, sample: Tensor, activation_bits: int | None = None
) -> Costs:
    """BOPS of each layer for one sample as given.

    Args:
        activation_bits: of every layer's input; None: as many as its weight has.
    """
    macs = layer_macs(model, list(options), sample)
    rows = [
        [macs[name] * each.bits * (activation_bits or each.bits) for each in widths]
        for name, widths in options.items()
    ]
    return torch.tensor(rows, dtype=torch.float64)


def measured_seconds(options: Options, seconds: Seconds) -> Costs:
    """The table's entries.

    Raises:
        ValueError: a layer was not measured in a width.
    """
    missing = [
        (name, each.bits)
        for name, widths in options.items()
        for each in widths
        if (name, each.bits) not in seconds
    ]
    if missing:
        raise ValueError(f"no time was measured for {missing[0][0]!r} in {missing[0][1]} bits")
    rows = [[seconds[name, each.bits] for each in widths] for name, widths in options.items()]
    return torch.tensor(rows, dtype=torch.float64)


def layer_macs(model: nn.Module, names: Sequence[str], sample: Tensor) -> dict[str, int]:
    """Multiplications and additions of each layer: one per weight and place of the output."""
    outputs = walk.outputs(model, names, [sample])
    macs = {}
    for name in names:
        weight = model.get_submodule(name).weight
        values = sum(output.numel() for output in outputs[name])
        macs[name] = values * weight[0].numel()
    return macs
